"""In what precision a network computes: the words fp32, tf32, bf16 and fp16, and what each switches.

| word | weights and sums | products of convolutions and matrices |
|---|---|---|
| fp32 | float32 | float32 with all its 24 bits, on every device |
| tf32 | float32 | on NVIDIA GPUs since Ampere, factors rounded to 11 bits; elsewhere as fp32 |
| bf16 | float32 | bfloat16 under autocast |
| fp16 | float32 | float16 under autocast, gradients scaled; on a processor many times slower than bf16 |

PyTorch itself lets cuDNN round every float32 convolution to TF32 unless told otherwise, so that float32
there means another thing than on a processor. Here alone that is decided.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

PRECISIONS = ("fp32", "tf32", "bf16", "fp16")

_DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def dtype(word: str) -> torch.dtype:
    """Of what goes into the products."""
    return _DTYPES[word]


@contextlib.contextmanager
def float32_products(word: str) -> Iterator[None]:
    """Within, float32 products of a GPU round their factors to TF32 where the word is `tf32`, else never.

    Also those of a backward pass, which autocast does not reach. PyTorch's switches are put back.
    """
    cudnn: Any = torch.backends.cudnn
    switches = (torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn)
    before = [switch.fp32_precision for switch in switches]
    for switch in switches:
        switch.fp32_precision = "tf32" if word == "tf32" else "ieee"
    try:
        yield
    finally:
        for switch, was in zip(switches, before, strict=True):
            switch.fp32_precision = was


def autocast(word: str, device: torch.device) -> torch.autocast:
    """A fresh context for a forward pass."""
    half = _DTYPES[word] != torch.float32
    return torch.autocast(device.type, dtype=_DTYPES[word] if half else None, enabled=half)


def scales_losses(word: str) -> bool:
    """Whether small gradients would be 0 in it, so that losses are scaled (Micikevicius et al. 2018)."""
    return _DTYPES[word] == torch.float16


@contextlib.contextmanager
def forward(word: str, device: torch.device) -> Iterator[None]:
    """All that a forward pass without a backward one needs."""
    with float32_products(word), autocast(word, device):
        yield
