"""A network's options: each is honoured, or refused with its family's name; none is passed over."""

import math
from typing import Any

import pytest
import torch

from naic_reid.architecture import Architecture
from naic_reid.models import build

SMALL = {"height": 96, "width": 32}
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"backbone": "osnet_x1_0", "last_stride": 1}, "last_stride: 1 .* osnet_x1_0"),
    ({"backbone": "timm/test_resnet", "last_stride": 2}, "last_stride: 2 .* timm/test_resnet"),
    ({"backbone": "resnet18", "non_local": True}, "non_local: True .* resnet18"),
    ({"backbone": "osnet_x1_0", "non_local": True}, "non_local: True .* osnet_x1_0"),
    ({"backbone": "resnest50", "usam": True}, "usam: True .* resnest50"),
    ({"backbone": "resnet50", "head": "mgn", "usam": True}, "usam: True .* head mgn"),
    ({"backbone": "resnest50", "ceil_pool": True}, "ceil_pool: True .* resnest50"),
    ({"backbone": "resnet50", "dilated": True}, "dilated: True .* resnet50"),
    ({"backbone": "resnest50", "head": "mgn"}, "head: mgn .* resnest50"),
    ({"backbone": "timm/test_resnet", "head": "mgn"}, "head: mgn .* timm/test_resnet"),
    ({"backbone": "resnet50", "head": "mgn", "height": 64}, "height: 64 .* head mgn: take another"),
    ({"backbone": "resnet50", "head": "mgn", "height": 128, "last_stride": 2}, "height: 128 .* head mgn"),
    ({"backbone": "resnet50", "head": "mgn", "stripes": 6}, "stripes: 6 .* head mgn"),
    ({"backbone": "resnet50", "head": "mgn", "reduction": 512}, "reduction: 512 .* head mgn"),
    ({"backbone": "resnet50", "head": "mgn", "dropout": 0.5}, "dropout: 0.5 .* head mgn"),
    ({"backbone": "resnet50", "stripes": 6, "dropout": 0.5}, "dropout: 0.5 .* 6 stripes"),
    ({"backbone": "resnet50", "drop_path": 0.2}, "drop_path: 0.2 .* resnet50"),
    ({"backbone": "timm/test_resnet", "transition_stride": 1}, "transition_stride: 1 .* timm/test_resnet"),
    ({"backbone": "resnet50", "head": "mgn", "non_local": True}, "non_local: true .* head mgn"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED)
def test_what_a_family_has_not_is_refused_by_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Architecture(**(SMALL | options))


def _map(**options: Any) -> tuple[int, int]:
    """Of the last map, by shapes alone."""
    with torch.device("meta"):
        network = build(Architecture(**SMALL, **options)).backbone.eval()
        (_, _, height, width) = network(torch.empty(1, 3, 96, 32)).shape
    return height, width


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50_ibn_b", "se_resnet50_ibn_a", "resnest50"])
def test_the_last_stride_is_that_of_the_option_in_every_family_that_has_one(backbone: str) -> None:
    assert _map(backbone=backbone) == _map(backbone=backbone, last_stride=1) == (6, 2)
    assert _map(backbone=backbone, last_stride=2) == (3, 1)


@pytest.mark.parametrize("words", [{}, {"last_stride": 2}, {"last_stride": 2, "ceil_pool": True}])
def test_mgn_takes_every_height_whose_map_has_thirds_and_no_other(words: dict[str, Any]) -> None:
    plain: dict[str, Any] = {"backbone": "resnet18", "width": 32, **words}
    with torch.device("meta"):
        network = build(Architecture(**plain, height=96)).backbone.eval()
    for height in (*range(47, 51), 64, 65, 80, 81, *range(95, 99), 128, 129, 130, 132, 133):
        rows = network(torch.empty(1, 3, height, 32, device="meta")).shape[2]
        try:
            taken = bool(Architecture(**plain, height=height, head="mgn"))
        except ValueError:
            taken = False
        assert taken == (2 * math.ceil(rows / 3) < rows), (height, rows)


def test_mgn_stands_on_every_resnet_and_honours_its_last_stride() -> None:
    for last_stride, expected in ((1, (6, 2)), (2, (3, 1))):
        with torch.device("meta"):
            options = {"backbone": "resnet18", "head": "mgn", "last_stride": last_stride}
            network = build(Architecture(**SMALL, **options)).eval()
            maps = network.backbone(torch.empty(1, 3, 96, 32))
        assert [tuple(one.shape[2:]) for one in maps] == [expected] * 3
        assert network.dimension == 8 * 256
