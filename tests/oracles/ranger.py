"""Ranger on one number, as the papers and the original write it: RAdam's algorithm 2, then look-ahead."""

import math


def ranger(
    start: float, gradients: list[float], *, rate: float, decay: float = 0.0,
    beta1: float = 0.95, beta2: float = 0.999, eps: float = 1e-5, every: int = 6, share: float = 0.5,
) -> list[float]:  # fmt: skip
    """The value after each step."""
    value = slow = start
    m = v = 0.0
    longest = 2 / (1 - beta2) - 1
    path = []
    for t, gradient in enumerate(gradients, start=1):
        m = beta1 * m + (1 - beta1) * gradient
        v = beta2 * v + (1 - beta2) * gradient**2
        length = longest - 2 * t * beta2**t / (1 - beta2**t)
        value -= rate * decay * value
        if length > 5:
            rectification = math.sqrt(
                (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
            )
            size = rate * rectification * math.sqrt(1 - beta2**t) / (1 - beta1**t)
            value -= size * m / (math.sqrt(v) + eps)
        else:
            value -= rate / (1 - beta1**t) * m
        if t % every == 0:
            slow = slow + share * (value - slow)
            value = slow
        path.append(value)
    return path
