"""Backbones of the timm library by name, with their feature width and image size found, not typed."""

import difflib
from collections.abc import Callable
from typing import Any

import timm
import torch
from torch import Tensor, nn

from naic_reid.errors import ReidError


def timm_backbone(
    name: str, height: int, width: int, *, drop_path: float = 0.0, transition_stride: int = 2
) -> tuple[nn.Module, int, Callable[[Tensor], Tensor] | None]:
    """A randomly drawn timm model without classifier and pooling, its width D, and how its output is a map.

    The third value is None where the output is a map [B, D, H, W] already; else it turns tokens
    [B, T, D] or maps [B, H, W, D] into one. Strides are timm's own, but for a DenseNet's last transition.

    Args:
        name: as timm calls it.
        height: of the images in pixels.
        width: likewise.
        drop_path: greatest probability that a block is skipped, growing with depth, while training.
        transition_stride: of the last transition's pooling of a DenseNet.

    Raises:
        ReidError: timm has no such model, or the model cannot take images of this size.
    """
    if not timm.is_model(name):
        known = timm.list_models()
        near = difflib.get_close_matches(name.split(".")[0], known, n=3)
        hint = (
            f"near: {', '.join(near)}"
            if near
            else f"one of {len(known)}: python -c 'import timm; print(timm.list_models())'"
        )
        raise ReidError(f"backbone timm/{name}: timm {timm.__version__} has no such model; {hint}")
    # Vision transformers are drawn for one size; convolutional networks take any and refuse the word.
    words: dict[str, Any] = {"img_size": (height, width)} if of_one_size(name) else {}
    if drop_path:
        words["drop_path_rate"] = drop_path
    try:
        net: Any = timm.create_model(name, pretrained=False, num_classes=0, global_pool="", **words)
        if transition_stride != 2:
            net.features.transition3.pool.stride = transition_stride
        training = net.training
        with torch.no_grad():
            shape = net.eval()(torch.zeros(1, 3, height, width)).shape
        net.train(training)
    except (RuntimeError, AssertionError, ValueError, TypeError) as error:
        reason = str(error).splitlines()[0]
        if "drop_path_rate" in reason:
            raise ReidError(f"backbone timm/{name}: has no drop_path: leave it out") from error
        raise ReidError(f"backbone timm/{name}: not at {height}×{width} pixels: {reason}") from error
    if len(shape) == 3:
        return net, shape[2], _Tokens(getattr(net, "num_prefix_tokens", 0))
    if getattr(net, "output_fmt", "NCHW") == "NHWC":
        return net, shape[3], _channels_first
    return net, shape[1], None


def of_one_size(name: str) -> bool:
    """Whether a timm model takes images of the one size that it was built for."""
    config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    return config is not None and config.fixed_input_size


class _Tokens:
    """Patch tokens [B, T, D] as a map [B, D, T', 1], without the class token and its like."""

    def __init__(self, num_prefix: int) -> None:
        self.num_prefix = num_prefix

    def __call__(self, tokens: Tensor) -> Tensor:
        return tokens[:, self.num_prefix :].transpose(1, 2)[..., None]


def _channels_first(activations: Tensor) -> Tensor:
    return activations.permute(0, 3, 1, 2)
