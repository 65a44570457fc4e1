"""What the readers of others' checkpoints share."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

from naic_reid.models.weights import Checkpoint, Report


class Converted(NamedTuple):
    """A published file as a checkpoint of ours, and what became of each of its tensors."""

    checkpoint: Checkpoint
    report: Report
    left_out: tuple[str, ...]
    """Tensors that no feature needs: class rows and pixel constants."""
    assumed: tuple[str, ...]
    """What the tensors' names do not tell, in words."""


def named_tensors(content: Any, wrapper: str) -> dict[str, Tensor]:
    """The tensors of a file by name, as `weights.loaded` gives it, without what training wrapped around them.

    Args:
        content: a table of tensors, or a table that has one under `wrapper`; anything else has no tensors.
        wrapper: its name.
    """
    if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
        content = content[wrapper]
    if not isinstance(content, Mapping):
        return {}
    return {
        name.removeprefix("module."): tensor
        for name, tensor in content.items()
        if isinstance(name, str) and isinstance(tensor, Tensor)
    }
