"""The four precisions: what each switches, on a GPU's flags and in a processor's numbers."""

from typing import get_args

import pytest
import torch

from naic_reid import precision
from naic_reid.config import Extract, Train

CPU = torch.device("cpu")


def test_the_words_of_the_config_are_those_of_the_module() -> None:
    for section in (Train, Extract):
        assert get_args(section.model_fields["precision"].annotation) == precision.PRECISIONS


@pytest.mark.parametrize("word", precision.PRECISIONS)
@pytest.mark.parametrize("was", ["ieee", "tf32"])
def test_only_tf32_rounds_products_of_float32_and_the_switches_are_put_back(word: str, was: str) -> None:
    switches = (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn)
    before = [switch.fp32_precision for switch in switches]
    try:
        for switch in switches:
            switch.fp32_precision = was
        with pytest.raises(ValueError, match="amid"), precision.float32_products(word):
            for switch in switches:
                assert switch.fp32_precision == ("tf32" if word == "tf32" else "ieee")
            raise ValueError("amid")
        assert [switch.fp32_precision for switch in switches] == [was] * 3
    finally:
        for switch, state in zip(switches, before, strict=True):
            switch.fp32_precision = state


@pytest.mark.parametrize("word", precision.PRECISIONS)
def test_a_product_has_the_type_and_the_error_that_its_word_says(word: str) -> None:
    torch.manual_seed(0)
    a, b = torch.randn(64, 256), torch.randn(256, 64)
    with precision.forward(word, CPU):
        product = a @ b
    assert product.dtype == precision.dtype(word)
    exact = a.double() @ b.double()
    error = float((product.double() - exact).abs().max() / exact.abs().max())
    least, most = {"bf16": (5e-4, 2e-2), "fp16": (5e-5, 2e-3)}.get(word, (0, 1e-6))
    assert least <= error <= most


def test_only_fp16_needs_scaled_losses() -> None:
    assert [word for word in precision.PRECISIONS if precision.scales_losses(word)] == ["fp16"]
