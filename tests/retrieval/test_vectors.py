"""The bound of a rounded product holds, for rows that round as badly as rows can, too."""

import numpy as np
import pytest
import torch

from naic_reid.retrieval import vectors
from tests.retrieval.features import clustered


def _worst(dimension: int) -> torch.Tensor:
    """float64 [8, D] unit rows; entries, but for the sign, lie just below the middle of two of bfloat16's."""
    rng = np.random.default_rng(dimension)
    middle = (1 + rng.integers(0, 3, (8, dimension)) / 128 + 1 / 256) * (1 - 2.0**-20)
    rows = middle * rng.choice([-1, 1], (8, dimension))
    rows[1::2] = rows[0]
    length = np.sqrt((rows**2).sum(1, keepdims=True))
    return torch.from_numpy(rows * 2.0 ** -np.round(np.log2(length)))  # still in the middle; length near 1


@pytest.mark.parametrize("dimension", [1, 3, 4, 64, 256, 1024, 2048])
@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float32])
def test_a_product_lies_within_its_bound(dimension: int, kind: torch.dtype) -> None:
    unit = torch.from_numpy(clustered(dimension, 40, dimension)).double()
    for rows in (unit / unit.norm(dim=1, keepdim=True), _worst(dimension)):
        scale = max(1.0, float(rows.norm(dim=1).max())) ** 2
        true = rows @ rows.T
        factors = rows.float().to(kind)
        lost = float((factors.double() - rows).norm(dim=1).max()) if kind == torch.bfloat16 else None
        slack, share = vectors.rounding(dimension, lost)
        assert ((factors.double() @ factors.double().T - true).abs() <= scale * slack).all()
        made = (factors @ factors.T).double()
        assert ((made - true).abs() <= scale * slack + share * made.abs()).all()
