"""How large a network is: parameters, and multiplications for one image."""

from typing import NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from naic_reid.architecture import Architecture
from naic_reid.models import build


class Size(NamedTuple):
    """Of a network without the rows of its classes."""

    parameters: int
    multiplications: int
    """Each with its addition, of convolutions and products for one image: what thop and fvcore call FLOPs."""


def of(architecture: Architecture) -> Size:
    """Counted by torch on shapes alone: nothing is drawn or computed.

    Raises:
        ReidError: there is no such network.
    """
    with torch.device("meta"):
        network = build(architecture).eval()
        images = torch.empty(1, 3, architecture.height, architecture.width)
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        network(images)
    return Size(parameters(network), counted.get_total_flops() // 2)


def parameters(network: nn.Module) -> int:
    """How many numbers are learnt."""
    return sum(parameter.numel() for parameter in network.parameters())
