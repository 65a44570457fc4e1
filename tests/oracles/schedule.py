"""The original's learning rates, epoch by epoch, as its text tells them."""


def original(epoch: int) -> float:
    """Factor at an epoch from 0: ten epochs of warm-up from 0.01, then a tenth at 25 and at 40."""
    falls = 0.01 if epoch >= 40 else 0.1 if epoch >= 25 else 1.0
    if epoch < 10:
        alpha = epoch / 10
        return falls * (0.01 * (1 - alpha) + alpha)
    return falls
