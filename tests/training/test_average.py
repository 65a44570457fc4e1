"""Averages of weights, beside PyTorch's and plain means."""

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from naic_reid.training.average import Equal, Moving
from naic_reid.training.freezing import freeze


def test_it_is_pytorchs_running_statistics_included() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    ours = Moving(net, 0.9)
    theirs = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(5):
        net(torch.randn(6, 3)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        ours.after_step()
        theirs.update_parameters(net)
    expected = theirs.module.state_dict()
    for name, tensor in ours.network.state_dict().items():
        if tensor.is_floating_point():  # PyTorch's counts batches in its own way
            torch.testing.assert_close(tensor, expected[name], msg=name)


def test_values_can_be_given_for_what_has_moved_on() -> None:
    net = nn.BatchNorm1d(2)
    ours, twin = Moving(net, 0.5), Moving(net, 0.5)
    twin.after_step()
    before = net.running_mean.clone()
    net.running_mean.add_(1)
    ours.after_step({net.running_mean: before})
    assert torch.equal(ours.network.running_mean, twin.network.running_mean)
    again = Moving(net, 0.5)
    again.load_state_dict(ours.state_dict())
    ours.after_step()
    again.after_step()
    assert torch.equal(ours.network.running_mean, again.network.running_mean)
    assert ours.network.running_mean.tolist() == [0.5, 0.5]


def test_the_equal_average_is_the_mean_of_the_last_epochs_with_statistics_made_anew() -> None:
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    swa = Equal(net, 2)
    weights = []
    for epoch in range(5):
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.add_(torch.randn_like(parameter))
        net(torch.randn(6, 3))
        swa.after_step()
        swa.after_epoch(epoch)
        weights.append([parameter.detach().clone() for parameter in net.parameters()])
        again = Equal(net, 2)
        again.load_state_dict(swa.state_dict())
        swa = again
    for own, *last in zip(swa.network.parameters(), *weights[2:], strict=True):
        torch.testing.assert_close(own, torch.stack(last).mean(0))
    batches = [(torch.randn(6, 3), "labels") for _ in range(3)]
    generator = torch.get_rng_state()
    kept = swa.settled(batches)
    assert torch.equal(generator, torch.get_rng_state())
    seen = [kept[0](images) for images, _ in batches]
    torch.testing.assert_close(kept[1].running_mean, torch.stack([rows.mean(0) for rows in seen]).mean(0))
    torch.testing.assert_close(kept[1].running_var, torch.stack([rows.var(0) for rows in seen]).mean(0))
    assert kept[1].momentum == 0.1


def test_a_frozen_normalisation_keeps_its_statistics_and_what_follows_is_made_anew_behind_them() -> None:
    torch.manual_seed(4)
    net = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 4), nn.BatchNorm1d(4))
    net(torch.randn(20, 3) + 5)
    freeze(net, ["0.*"])
    swa = Equal(net, 0)
    swa.after_epoch(0)
    images = torch.randn(6, 3)
    kept = swa.settled([(images,)])
    for name, statistic in net[0].state_dict().items():
        assert torch.equal(kept[0].state_dict()[name], statistic), name
    torch.testing.assert_close(kept[2].running_mean, net[1](net[0](images)).mean(0))


def test_nothing_is_averaged_before_its_first_epoch() -> None:
    swa = Equal(nn.Linear(2, 2), 1)
    swa.after_epoch(0)
    assert swa.count == 0
    swa.after_epoch(1)
    assert swa.count == 1
