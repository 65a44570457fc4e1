"""Parameters kept by pattern."""

import pytest
import torch
from torch import nn

from naic_reid.errors import ReidError
from naic_reid.training.freezing import freeze


def _net() -> nn.Module:
    net = nn.Module()
    net.backbone = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
    net.neck = nn.BatchNorm1d(4)
    net.neck.bias.requires_grad_(False)
    return net.train()


def _trained(net: nn.Module) -> set[str]:
    return {name for name, p in net.named_parameters() if p.requires_grad}


def test_what_matches_is_kept_and_its_normalisation_too() -> None:
    net = _net()
    freeze(net, ["backbone.0.*", "backbone.1.*"])
    assert _trained(net) == {
        "backbone.2.weight", "backbone.2.bias", "backbone.3.weight", "backbone.3.bias", "neck.weight"
    }  # fmt: skip
    assert [net.get_submodule(name).training for name in ("backbone.1", "backbone.3", "neck")] == [
        False, True, True
    ]  # fmt: skip


def test_normalisation_may_go_on_with_the_batchs_statistics() -> None:
    net = _net()
    freeze(net, ["backbone.*"], norm=False)
    assert net.get_submodule("backbone.1").training
    assert _trained(net) == {"neck.weight"}


def test_letting_go_undoes_keeping() -> None:
    net = _net()
    before = _trained(net)
    freeze(net, ["*"])
    assert not _trained(net)
    freeze(net, ["*"], frozen=False)
    assert _trained(net) == before
    assert all(module.training for module in net.modules())


def test_a_pattern_without_a_match_is_refused_with_names() -> None:
    with pytest.raises(
        ReidError, match=r"layer1\.\* matches no parameter; names are like backbone\.0\.weight"
    ):
        freeze(_net(), ["layer1.*"])


def test_no_patterns_keep_nothing() -> None:
    net = _net()
    before = _trained(net)
    freeze(net, [])
    assert _trained(net) == before
    assert torch.is_grad_enabled()
