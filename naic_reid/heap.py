"""Keeps freed memory that glibc would hand back to the kernel (mallopt)."""

import ctypes

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # of glibc's mallopt(3)


def keep_freed_memory() -> bool:
    """Let freed blocks wait for their next use instead of going back to the kernel; False where glibc is not.

    glibc maps every block above 32 MB anew and unmaps it again. The activations of a training step are such
    blocks: on a processor a third of a step can go into page faults (`benchmarks/heap.py`). The process then
    stays as large as it ever was, and no result changes.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    return bool(mallopt(_MMAP_MAX, 0) and mallopt(_TRIM_THRESHOLD, 2**31 - 1) and mallopt(_TOP_PAD, 2**26))
