"""`python -m tests.fuzz [SECONDS]`: two minutes of atheris on every target; a crash is printed and kept."""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["naic_reid", "zipfile"]):
    from tests.fuzz import targets


def main() -> None:
    seconds = sys.argv[1] if len(sys.argv) > 1 else "120"
    corpus = Path(tempfile.mkdtemp(prefix="corpus"))
    for number, seed in enumerate(targets.seeds()):
        (corpus / str(number)).write_bytes(seed)
    options = [
        f"-max_total_time={seconds}", "-max_len=4096", "-rss_limit_mb=4096", "-timeout=20",
        "-print_final_stats=1", f"-artifact_prefix={corpus}-",
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *options, str(corpus)], targets.one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
