"""A trained network made quick for taking features; what it computes stays the same up to rounding."""

import copy
from typing import TypeVar

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

_Network = TypeVar("_Network", bound=nn.Module)

# How the networks of `resnet_ibn` name a convolution and what normalises it; a module of another naming says
# its own in `FOLDED`.
_PAIRS = (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"), ("0", "1"))


def fused(network: _Network) -> _Network:
    """A copy with batch normalisations folded into the convolutions before them.

    Only pairs that are known by name are folded; an instance normalisation, or half of one, depends
    on the image and stays. The network must be in evaluation mode.
    """
    assert not network.training
    network = copy.deepcopy(network)
    for module in list(network.modules()):
        for conv_name, norm_name in getattr(module, "FOLDED", _PAIRS):
            conv, norm = (getattr(module, name, None) for name in (conv_name, norm_name))
            # Exactly these types: timm's normalisations hold the activation as well.
            if type(conv) is nn.Conv2d and type(norm) is nn.BatchNorm2d:
                setattr(module, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(module, norm_name, nn.Identity())
    return network


def halved(network: _Network, dtype: torch.dtype) -> _Network:
    """The network itself, with the weights of its products in bfloat16 or float16; for use under autocast.

    Autocast alone would convert them again for every batch. Normalisations keep theirs in float32.
    """
    for module in network.modules():
        if type(module) in (nn.Conv2d, nn.Linear):
            module.to(dtype)
    return network
