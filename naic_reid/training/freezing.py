"""Freezing: parameters, chosen by patterns of their names, that are not trained, for a while or for good."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import Tensor, nn

from naic_reid.errors import ReidError


def freeze(
    module: nn.Module,
    patterns: Sequence[str],
    *,
    frozen: bool = True,
    norm: bool = True,
    gradients: bool = True,
) -> None:
    """Freeze (or unfreeze) the parameters whose names match one of the patterns.

    Args:
        module: whose parameters; it stays in training mode.
        patterns: of names, as `backbone.layer1.*`.
        frozen: freeze them, or let them be trained.
        norm: batch normalisation all of whose parameters match also uses and keeps its running
            statistics, instead of the batch's.
        gradients: frozen parameters have none; false: they have, and whoever steps drops them.

    Raises:
        ReidError: a pattern matches nothing.
    """
    names = [name for name, _ in module.named_parameters()]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ReidError(
                f"train.freeze: {pattern} matches no parameter; names are like {', '.join(names[:3])}"
            )

    for prefix, inner in module.named_modules():
        own = [(f"{prefix}.{name}".strip("."), p) for name, p in inner.named_parameters(recurse=False)]
        for name, p in own:
            # A neck's bias is never trained, whatever is let go.
            if gradients and _matches(name, patterns) and not name.endswith("neck.bias"):
                p.requires_grad_(not frozen)
        if (
            norm
            and isinstance(inner, nn.modules.batchnorm._BatchNorm)
            and own
            and all(_matches(n, patterns) for n, _ in own)
        ):
            inner.train(not frozen)


def frozen_by(module: nn.Module, patterns: Sequence[str]) -> list[Tensor]:
    """The parameters whose names match one of the patterns."""
    return [parameter for name, parameter in module.named_parameters() if _matches(name, patterns)]


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
