"""The record of a file of whatever type."""

import zipfile
from pathlib import Path

from naic_reid.artifacts.arrays import member
from naic_reid.artifacts.checks import damaged, unreadable
from naic_reid.artifacts.made_by import MadeBy
from naic_reid.errors import ReidError
from naic_reid.files import regular

_LONGEST_RECORD = 1 << 24  # bytes


def record(path: Path) -> MadeBy | None:
    """What made a table or a file of arrays, of whatever type; none where it is neither.

    Only as much of the file is read as that takes: its other content is not checked.

    Raises:
        ReidError: the record is damaged, or the file cannot be read.
    """
    try:
        with regular(path).open("rb") as handle:
            first = handle.readline(_LONGEST_RECORD)
        if path.suffix == ".npz" and first.startswith(b"PK"):
            with zipfile.ZipFile(regular(path)) as archive:
                return MadeBy.from_json(str(member(archive, archive.getinfo("made_by.npy"))))
        words = first.split(b" ", 3)
        if path.suffix == ".tsv" and words[0] == b"#" and len(words) == 4:
            return MadeBy.from_json(words[3].decode())
        return None
    except ReidError:
        raise
    except OSError as error:
        raise unreadable(path, error) from error
    except Exception as error:  # zipfile and NumPy raise whatever the damage leads to
        raise damaged(path, "artefact", error) from error
