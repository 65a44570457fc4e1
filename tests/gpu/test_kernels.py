"""Batches, losses and layers give on a GPU what they give on a processor."""

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from naic_reid import losses, precision
from naic_reid.data import augment
from naic_reid.data.batches import TrainingImages, TrainingList
from naic_reid.data.geometry import Geometry
from naic_reid.models.instance_norm import InstanceNorm2d

CPU = torch.device("cpu")


def _source(folder: Path, num: int = 12) -> TrainingImages:
    rng = np.random.default_rng(1)
    names = [f"{number:02}.png" for number in range(num)]
    for name in names:
        cv2.imwrite(str(folder / name), rng.integers(0, 256, (64, 32, 3), np.uint8))
    return TrainingImages(
        folder, TrainingList(names, [number // 4 for number in range(num)]), Geometry(64, 32)
    )


def test_pinned_batches_are_finished_on_the_device_as_on_a_processor(device: str, folder: Path) -> None:
    source, order = _source(folder), np.random.default_rng(0).integers(0, 12, (20, 8))
    for fill in ("mean", "noise"):
        recipe = augment.Recipe(0.5, 4, 0.5, 0.5, 0.5, 0.2, 0.7, fill)
        plain = list(source.batches(order, recipe, 1, 0))
        made = source.batches(order, recipe, 1, 0, workers=4, pinned=device == "cuda")
        for expected, batch in zip(plain, made, strict=True):
            assert batch.pixels.is_pinned() == (device == "cuda")
            images, labels = batch.finished(torch.device(device))
            assert images.device.type == device and images.is_contiguous(memory_format=torch.channels_last)
            whole, named = expected.finished(CPU)
            torch.testing.assert_close(images.cpu(), whole, rtol=1e-6, atol=1e-6)
            assert torch.equal(labels.cpu(), named)


def _loss_and_gradient(loss: nn.Module, rows: Tensor, labels: Tensor, device: str) -> tuple[Tensor, Tensor]:
    moved = rows.clone().to(device).requires_grad_()
    found = loss.to(device)(moved, labels.to(device))
    value = found[0] if isinstance(found, tuple) else found
    value.backward()
    assert moved.grad is not None
    return value.detach().cpu(), moved.grad.cpu()


def test_losses_and_their_gradients_are_those_of_a_processor(device: str) -> None:
    rows, labels = 3 * torch.randn(32, 48, generator=torch.Generator().manual_seed(1)), torch.arange(32) // 4
    for name in ("weighted_triplet", "hard_triplet", "pairwise_cosface", "arcface", "cosface", "linear"):
        torch.manual_seed(2)
        build = losses.build_metric if name in losses.METRIC_LOSSES else losses.build_identity
        loss = build(name, 8, 48)
        with precision.float32_products("fp32"):
            expected = _loss_and_gradient(loss, rows, labels, "cpu")
            found = _loss_and_gradient(loss, rows, labels, device)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_triplet_of_a_thousand_wide_rows_takes_little_memory(gpu: str) -> None:
    num, dimension = 1024, 2048
    rows = torch.randn(num, dimension, device=gpu, requires_grad=True)
    labels = torch.arange(num, device=gpu) // 4
    for name in ("weighted_triplet", "hard_triplet"):
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        losses.build_metric(name, 4, dimension)(rows, labels).backward()
        assert torch.cuda.max_memory_allocated() - before < 4 * (24 * num**2 + 6 * num * dimension)


def test_instance_normalisation_is_torchs_and_keeps_channels_last(device: str) -> None:
    torch.manual_seed(3)
    ours, theirs = InstanceNorm2d(16), nn.InstanceNorm2d(16, affine=True)
    for parameter in ours.parameters():
        nn.init.normal_(parameter)
    theirs.load_state_dict(ours.state_dict())
    ours.to(device)
    theirs.double()
    maps, slopes = 5 + 2 * torch.randn(4, 16, 12, 6), torch.randn(4, 16, 12, 6)
    for dtype, near in ((torch.float32, 1e-4), (torch.bfloat16, 0.06), (torch.float16, 8e-3)):
        rounded = maps.to(dtype)
        there = rounded.to(device).contiguous(memory_format=torch.channels_last).requires_grad_()
        exact = rounded.double().requires_grad_()
        found, expected = ours(there), theirs(exact)
        assert found.dtype == dtype and found.is_contiguous(memory_format=torch.channels_last)
        of_maps = torch.autograd.grad(found, there, slopes.to(device, dtype))[0]
        assert of_maps.is_contiguous(memory_format=torch.channels_last)
        of_exact = torch.autograd.grad(expected, exact, slopes.to(dtype).double())[0]
        torch.testing.assert_close(found.double().cpu(), expected, rtol=near, atol=near)
        torch.testing.assert_close(of_maps.double().cpu(), of_exact, rtol=near, atol=near)


def test_float32_is_not_tf32(device: str) -> None:
    torch.manual_seed(0)
    images, kernel = torch.randn(8, 64, 32, 16), torch.randn(64, 64, 3, 3)
    exact = nn.functional.conv2d(images.double(), kernel.double())
    errors = {}
    for word in ("fp32", "tf32"):
        with precision.forward(word, torch.device(device)):
            found = nn.functional.conv2d(images.to(device), kernel.to(device)).cpu()
        errors[word] = float((found - exact).abs().max() / exact.abs().max())
    assert errors["fp32"] < 2e-6
    if device == "cuda":
        assert 1e-5 < errors["tf32"] < 2e-3
