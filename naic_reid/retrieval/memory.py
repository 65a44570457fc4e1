"""How much memory may be taken: what is asked for, or half of what is free here."""

import torch

from naic_reid import machine
from naic_reid.errors import ReidError


def budget(memory: str, device: str = "cpu") -> int:
    """Bytes to stay within: as written, such as 800MB or 6GB, or half of what is free on the device.

    Raises:
        ReidError: the text is no amount of memory.
    """
    asked = machine.amount(memory)
    if asked is None:
        if device == "cpu":
            return machine.free_memory() // 2
        return int(torch.cuda.mem_get_info(torch.device(device))[0]) // 2
    if not asked:
        raise ReidError(f"memory {memory!r} is no amount: write it like 800MB or 6GB")
    return asked
