"""Starts a command on a GPU of its own, which no other command started so has; waits until one is free.

    naic-reid on_gpu 1 naic-reid train …     four of these at once use the four GPUs of a machine
    naic-reid on_gpu 2 torchrun …            two for this one

The workflow starts its own steps like this. CUDA_VISIBLE_DEVICES, where it is set, names the GPUs to choose
from. Without a GPU the command starts as it is.
"""

import argparse
import os
import shutil

from naic_reid import machine
from naic_reid.errors import ReidError


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this tool's options."""
    parser.add_argument("number", type=int, metavar="N", help="how many GPUs")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND …", help="what to start")


def run(options: argparse.Namespace) -> int:
    """Becomes the command; it returns only by an error.

    Raises:
        ReidError: there are too few GPUs, or no such command.
    """
    program = shutil.which(options.command[0]) if options.command else None
    if program is None:
        raise ReidError(f"on_gpu: no such command: {' '.join(options.command[:1]) or '(none given)'}")
    if options.number and machine.gpus():
        chosen = machine.own_gpus(options.number, lambda words: print(f"on_gpu: {words}", flush=True))
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(chosen)
        print(f"on_gpu: on GPU {', '.join(chosen)}", flush=True)
    os.execv(program, options.command)
