"""Consistency losses: two rows of logits of one image, varied twice, are to name the same classes.

Both are means of two Kullback-Leibler divergences over the batch, computed in float32, with gradients through
everything, targets included. Source: Zheng et al., "Joint discriminative and generative learning for person
re-identification" (CVPR 2019), whose generated images DG-Market are learnt so.
"""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor


def symmetric(one: Tensor, other: Tensor) -> Tensor:
    """½·[KL(p‖q) + KL(q‖p)] of p = softmax(one), q = softmax(other), each [B, C]; mean over B."""
    p, q = _log_shares(one, other)
    return (_divergence(p, q) + _divergence(q, p)) / 2


def to_product(one: Tensor, other: Tensor) -> Tensor:
    """½·[KL(m‖p) + KL(m‖q)], m = softmax(one + other): the product of both, scaled to sum 1; mean over B."""
    p, q = _log_shares(one, other)
    both = F.log_softmax(one.float() + other.float(), dim=1)
    return (_divergence(both, p) + _divergence(both, q)) / 2


CONSISTENCIES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "teacher": symmetric,
    "twin": to_product,
}
"""By the word of `train.unlabelled.form`."""


def _log_shares(*logits: Tensor) -> tuple[Tensor, ...]:
    return tuple(F.log_softmax(rows.float(), dim=1) for rows in logits)


def _divergence(target: Tensor, found: Tensor) -> Tensor:
    """KL of two rows of log-probabilities, the target first; mean over rows."""
    return (target.exp() * (target - found)).sum(1).mean()
