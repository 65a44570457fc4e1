"""The process behind `kills.Runner`: it imports everything once, and forks for each attempt.

Reads one JSON object a line: the folder, and the commands with the files each makes; answers with the id
of the process at work, and then with its status.
"""

import json
import os
import sys
from importlib import import_module
from pathlib import Path

from naic_reid import cli, stages


def attempt(folder: str, jobs: list[tuple[list[str], list[str]]]) -> int:
    os.chdir(folder)
    os.dup2(os.open("printed", os.O_WRONLY | os.O_CREAT | os.O_APPEND), sys.stderr.fileno())
    for command, outputs in jobs:
        if all(Path(path).exists() for path in outputs):
            continue
        if status := cli.main(command):
            return status
    return 0


def main() -> None:
    for name in [*(f"naic_reid.stages.{stage}" for stage in stages.STAGES), "torch._dynamo"]:
        import_module(name)  # the last is what an optimizer imports when it is first made
    print("ready", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        process = os.fork()
        if process == 0:
            status = 1
            try:
                status = attempt(asked["folder"], asked["jobs"])
            finally:
                os._exit(status)
        print(process, flush=True)
        _, ended = os.waitpid(process, 0)
        print(os.waitstatus_to_exitcode(ended), flush=True)


if __name__ == "__main__":
    main()
