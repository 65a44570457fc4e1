"""Freed memory that stays: the second use of a block touches no new page."""

import platform
import subprocess
import sys

import pytest

USES = """
import resource, sys
import numpy as np
from naic_reid.heap import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
np.ones(1 << 24)  # 128 MB
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    np.ones(1 << 24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", USES, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="not glibc: blocks go where its C library likes"
)
def test_a_block_used_again_is_not_mapped_again() -> None:
    assert faults("kept") * 20 < faults("not")
