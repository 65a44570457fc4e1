"""`naic-reid` for the steps of long walks: one process imports everything once, and forks for each step.

Most of what a step on a few images costs is its imports, two processor seconds with PyTorch. Here the command
is one of nothing but Python's own library, which hands its words, folder, environment and outputs to that
process and ends with the step's status. What is killed, sent to a cluster or started by `run.sh` in other
tests is the command itself.
"""

import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from naic_reid import cli, stages

COMMAND = """#!{python} -IS
import json, os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({door!r})
socket.send_fds(server, [b"x"], [1, 2])
server.sendall(json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode())
server.shutdown(socket.SHUT_WR)
sys.exit((server.recv(1) or b"\\xff")[0])
"""


@contextmanager
def served() -> Iterator[Path]:
    """A folder with this `naic-reid` in it."""
    with tempfile.TemporaryDirectory(prefix="warm-") as name:
        command, door = Path(name) / "naic-reid", f"{name}/door"
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.warm", door],
            cwd=Path(__file__).parent.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert server.stdout is not None and server.stdout.readline() == b"ready\n"
        command.write_text(COMMAND.format(python=sys.executable, door=door))
        command.chmod(0o755)
        yield command.parent
        server.communicate()  # closes its standard input, at which it ends


def step(connection: socket.socket) -> int:
    """What a client asks for, in this process, which is its own."""
    _, outputs, *_ = socket.recv_fds(connection, 1, 2)
    with connection.makefile("rb") as asked:
        words, cwd, environment = json.load(asked)
    for place, output in zip((1, 2), outputs, strict=True):
        os.dup2(output, place)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    try:
        return cli.main(words)
    except SystemExit as ended:
        return int(ended.code or 0)


def main(door: str) -> None:
    for name in [*(f"naic_reid.stages.{stage}" for stage in stages.STAGES), "torch._dynamo"]:
        import_module(name)  # the last is what an optimizer imports when it is first made
    steps: set[int] = set()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(door)
    listener.listen()
    print("ready", flush=True)
    while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
        connection, _ = listener.accept()
        steps = {each for each in steps if os.waitpid(each, os.WNOHANG) == (0, 0)}
        if not (process := os.fork()):
            status = 1
            try:
                status = step(connection)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                connection.sendall(bytes([status]))
                os._exit(status)
        connection.close()
        steps.add(process)
    for each in steps:
        os.waitpid(each, 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
