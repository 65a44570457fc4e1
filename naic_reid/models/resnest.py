"""ResNeSt (Zhang et al. 2020) with a last stride of 1 and non-local blocks, as FastReID's "S50" and "S101".

The network is timm's, whose tensors are called as the published files call them and compute the same. timm's
own `output_stride=16` is not the published last stride of 1: it leaves out the averaging in the first block
of layer 4, and its shortcut averages there where the published one does nothing. FastReID's later code
(`dilated`) also spreads the second and third block's convolution by 2.
"""

from typing import Any

import timm
from torch import Tensor, nn

from naic_reid.models import non_local

_NAMES = {"resnest50": "resnest50d", "resnest101": "resnest101e"}


class ResNeSt(nn.Module):
    """An image [B, 3, H, W] becomes a map [B, 2048, H/16, W/16], or H/32 and W/32 with `last_stride` 2."""

    def __init__(
        self, name: str, last_stride: int, *, num_non_local: tuple[int, int] = (0, 0), dilated: bool = False
    ) -> None:
        super().__init__()
        net: Any = timm.create_model(_NAMES[name], pretrained=False, num_classes=0, global_pool="")
        self.conv1, self.bn1, self.act1, self.maxpool = net.conv1, net.bn1, net.act1, net.maxpool
        self.layer1, self.layer2, self.layer3, self.layer4 = net.layer1, net.layer2, net.layer3, net.layer4
        if last_stride == 1:
            first = net.layer4[0]
            first.avd_last.stride = 1
            first.downsample[0] = nn.Identity()
        for block in net.layer4[1:] if dilated else ():
            block.conv2.conv.dilation = block.conv2.conv.padding = (2, 2)
        self.dimension = 2048
        in_2, in_3 = num_non_local
        if in_2 + in_3:
            self.NL_2, self.NL_3 = non_local.blocks(512, in_2), non_local.blocks(1024, in_3)

    def forward(self, images: Tensor) -> Tensor:
        """The last map; images [B, 3, H, W]."""
        x = self.layer1(self.maxpool(self.act1(self.bn1(self.conv1(images)))))
        if hasattr(self, "NL_2"):
            x = non_local.through(self.layer3, self.NL_3, non_local.through(self.layer2, self.NL_2, x))
        else:
            x = self.layer3(self.layer2(x))
        last: Tensor = self.layer4(x)
        return last
