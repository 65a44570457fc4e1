"""MGN: three trunks over one stem, eight branches over their maps (Wang et al. 2018), as FastReID has it."""

import copy
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from naic_reid.models.branches import Branch, Region, Seen
from naic_reid.models.heads import Group, Head
from naic_reid.models.resnet_ibn import ResNet

WIDTH = 256
"""Of each branch's feature."""
_REGIONS = {
    "b1": Region(0),
    "b2": Region(1),
    "b3": Region(2),
    "b21": Region(1, 0, 2, overlapping=False),
    "b22": Region(1, 1, 2, overlapping=False),
    "b31": Region(2, 0, 3, overlapping=False),
    "b32": Region(2, 1, 3, overlapping=False),
    "b33": Region(2, 2, 3, overlapping=False),
}
"""What each branch sees, in the order in which the features are joined."""
_METRIC = (("b1",), ("b2",), ("b3",), ("b21", "b22"), ("b31", "b32", "b33"))


class Trunks(nn.Module):
    """A ResNet whose blocks after the first of layer 3 exist three times, with weights of their own."""

    def __init__(self, resnet: ResNet) -> None:
        super().__init__()
        self.conv1, self.bn1, self.relu, self.maxpool = resnet.conv1, resnet.bn1, resnet.relu, resnet.maxpool
        self.layer1, self.layer2 = resnet.layer1, resnet.layer2
        self.layer3 = nn.Sequential(resnet.layer3[0])
        rest = nn.Sequential(nn.Sequential(*resnet.layer3[1:]), resnet.layer4)
        self.trunks = nn.ModuleList(copy.deepcopy(rest) for _ in range(3))
        self.dimension = resnet.dimension

    def forward(self, images: Tensor) -> list[Tensor]:
        """The three last maps; images [B, 3, H, W]."""
        x: Tensor = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        x = self.layer3(self.layer2(self.layer1(x)))
        return [trunk(x) for trunk in self.trunks]

    def of_resnet(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A ResNet's tensors under the names they have here: those of the trunks thrice."""
        named: dict[str, Tensor] = {}
        for name, tensor in tensors.items():
            layer, _, rest = name.partition(".")
            index, _, inner = rest.partition(".")
            if layer == "layer4" or (layer == "layer3" and index != "0"):
                place = f"1.{index}" if layer == "layer4" else f"0.{int(index) - 1}"
                named |= {f"trunks.{trunk}.{place}.{inner}": tensor for trunk in range(3)}
            else:
                named[name] = tensor
        return named


def head(pooling: Callable[[], nn.Module], dimension: int, *, relu: bool = False) -> Head:
    """Eight branches of 256, judged as 1/8 of their cross-entropies and 1/5 of five triplet terms.

    Args:
        pooling: makes a branch's pooling.
        dimension: C, of the trunks' maps.
        relu: the form of July 2020, which published files have: one pooling for all, and batch normalisation
            and ReLU between the reduction and the neck.
    """
    shared = pooling() if relu else None

    def branch(region: Region) -> Branch:
        reduction: nn.Module = nn.Linear(dimension, WIDTH, bias=False)
        nn.init.kaiming_normal_(reduction.weight, mode="fan_out", nonlinearity="relu")  # type: ignore[arg-type]
        if relu:
            reduction = nn.Sequential(reduction, nn.BatchNorm1d(WIDTH), nn.ReLU(inplace=True))
        return Branch(shared or pooling(), WIDTH, reduction=reduction, region=region)

    def unit(seen: dict[str, Seen], _: float) -> Tensor:
        return F.normalize(torch.cat([seen[name].feature for name in _REGIONS], 1))

    identity = tuple(Group((name,), 1 / len(_REGIONS)) for name in _REGIONS)
    metric = tuple(Group(names, 1 / len(_METRIC)) for names in _METRIC)
    branches = {name: branch(region) for name, region in _REGIONS.items()}
    return Head(branches, identity, metric, unit, WIDTH * len(_REGIONS))
