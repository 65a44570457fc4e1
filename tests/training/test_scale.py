"""The loss scale, beside PyTorch's."""

import torch

from naic_reid.training import scale
from naic_reid.training.scale import LossScale


def test_it_moves_as_pytorchs_does() -> None:
    ours, theirs = LossScale(torch.device("cpu")), torch.amp.GradScaler("cpu", init_scale=2.0**16)
    theirs.set_growth_interval(5)
    before, scale.GROWS_AFTER = scale.GROWS_AFTER, 5
    try:
        p = torch.nn.Parameter(torch.ones(1))
        optimizer = torch.optim.SGD([p], lr=0.0)
        overflows = torch.Generator().manual_seed(0)
        for step in range(200):
            bad = step in (0, 1, 90, 91, 92) or bool(torch.rand((), generator=overflows) < 0.05)
            theirs.scale(torch.ones(()))
            p.grad = torch.full((1,), float("inf") if bad else 1.0)
            theirs.step(optimizer)
            theirs.update()
            ours.update(torch.tensor(not bad))
            assert ours.value.item() == theirs.get_scale()
    finally:
        scale.GROWS_AFTER = before


def test_it_can_be_put_back_and_saved() -> None:
    ours = LossScale(torch.device("cpu"))
    ours.update(torch.tensor(True))
    kept = {name: value.clone() for name, value in ours.state_dict().items()}
    ours.update(torch.tensor(False))
    assert ours.value.item() == 2.0**15
    ours.put_back()
    assert ours.state_dict() == kept
    other = LossScale(torch.device("cpu"))
    other.load_state_dict(kept)
    assert other.state_dict() == kept
