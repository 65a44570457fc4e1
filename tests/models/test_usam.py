"""USAM: the reference's worked numbers, loops from its definition, and where it stands in a ResNet."""

from pathlib import Path

import torch

from naic_reid.architecture import Architecture
from naic_reid.models import build
from naic_reid.models.usam import USAM, differences
from naic_reid.models.weights import load_pretrained


def test_differences_are_the_references_worked_numbers() -> None:
    found = differences(torch.arange(16.0).view(1, 1, 4, 4))[0, 0]
    expected = [[-10, -9, -6, 9], [9, 0, 0, 24], [21, 0, 0, 36], [66, 51, 54, 85]]
    assert found.tolist() == expected


def _attended(x: list[list[list[float]]], mean: float, variance: float) -> list[list[list[float]]]:
    """One image [C][H][W] by the definition, its differences normalised by these statistics."""
    height, width = len(x[0]), len(x[0][0])
    s = [[sum(channel[i][j] for channel in x) for j in range(width)] for i in range(height)]
    attention = [[0.0] * width for _ in range(height)]
    for i in range(1, height - 1):
        for j in range(1, width - 1):
            around = [s[i + k][j + m] for k in (-1, 0, 1) for m in (-1, 0, 1)]
            a = (sum(s[i][j] - other for other in around) - mean) / (variance + 1e-5) ** 0.5
            attention[i][j] = a if a > 0 else 0.1 * a
    return [
        [[channel[i][j] * (1 + attention[i][j]) for j in range(width)] for i in range(height)]
        for channel in x
    ]


def test_what_stands_out_counts_more_as_the_loops_say() -> None:
    x = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    module = USAM().double().eval()
    module.bn.running_mean.fill_(0.5)
    module.bn.running_var.fill_(4.0)
    found = module(x)
    for image, expected in zip(found, x.tolist(), strict=True):
        torch.testing.assert_close(image, torch.tensor(_attended(expected, 0.5, 4.0), dtype=torch.float64))
    torch.testing.assert_close(found[:, :, 0], x[:, :, 0])


def test_it_stands_before_the_stems_pooling_and_after_layer_1(tmp_path: Path) -> None:
    words = {"backbone": "resnet18_ibn_a", "height": 64, "width": 32}
    torch.manual_seed(1)
    plain, attentive = (build(Architecture(**words, usam=usam)).eval() for usam in (False, True))
    torch.save(plain.backbone.state_dict(), tmp_path / "plain.pth")
    missing = load_pretrained(attentive.backbone, tmp_path / "plain.pth").missing
    assert {name.partition(".")[0] for name in missing} == {"usam_stem", "usam_1"}
    shapes = {}
    for name in ("usam_stem", "usam_1", "maxpool", "layer2"):
        attentive.backbone.get_submodule(name).register_forward_pre_hook(
            lambda module, given, name=name: shapes.update({name: given[0].clone()})
        )
    images = torch.randn(2, 3, 64, 32)
    with torch.inference_mode():
        attentive(images)
        assert shapes["usam_stem"].shape == (2, 64, 32, 16) and shapes["usam_1"].shape == (2, 64, 16, 8)
        for before, after in (("usam_stem", "maxpool"), ("usam_1", "layer2")):
            torch.testing.assert_close(
                attentive.backbone.get_submodule(before)(shapes[before]), shapes[after]
            )
        for name in ("usam_stem", "usam_1"):  # a scale of 0 makes it nothing
            attentive.backbone.get_submodule(name).bn.weight.zero_()
        assert torch.equal(attentive(images)["whole"].embedding, plain(images)["whole"].embedding)
