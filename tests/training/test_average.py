"""The moving average, beside PyTorch's."""

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from naic_reid.training.average import Average


def test_it_is_pytorchs_running_statistics_included() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    ours = Average(net, 0.9)
    theirs = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(5):
        net(torch.randn(6, 3)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        ours.update()
        theirs.update_parameters(net)
    expected = theirs.module.state_dict()
    for name, tensor in ours.network.state_dict().items():
        if tensor.is_floating_point():  # PyTorch's counts batches in its own way
            torch.testing.assert_close(tensor, expected[name], msg=name)


def test_values_can_be_given_for_what_has_moved_on() -> None:
    net = nn.BatchNorm1d(2)
    ours, twin = Average(net, 0.5), Average(net, 0.5)
    twin.update()
    before = net.running_mean.clone()
    net.running_mean.add_(1)
    ours.update({net.running_mean: before})
    assert torch.equal(ours.network.running_mean, twin.network.running_mean)
    again = Average(net, 0.5)
    again.load_state_dict(ours.state_dict())
    ours.update()
    again.update()
    assert torch.equal(ours.network.running_mean, again.network.running_mean)
    assert ours.network.running_mean.tolist() == [0.5, 0.5]
