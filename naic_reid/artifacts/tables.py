"""Tables: TSV with a record and a digest in their first line."""

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path

from naic_reid.artifacts.checks import damaged, unreadable
from naic_reid.artifacts.made_by import MadeBy
from naic_reid.files import content, streamed


def write_table(path: Path, kind: str, made_by: MadeBy, header: list[str], rows: Sequence[str]) -> None:
    """A TSV file: a first line `# kind digest made_by`, a header line, then the rows as given.

    The digest is of all that follows it, the record included.
    """
    rest = "\n".join([made_by.to_json(), "\t".join(header), *rows, ""]).encode()
    with streamed(path) as stream:
        stream.write(f"# {kind} {blake2b(rest, digest_size=16).hexdigest()} ".encode() + rest)


def read_table(
    path: Path, kind: str, header: list[str], *, optional: int = 0
) -> tuple[MadeBy, list[list[str]]]:
    """The record and the rows of a file that `write_table` wrote; refused when a byte differs.

    Of the header's last `optional` columns the file may lack any: they are then empty.
    """
    made_by, rows = stream_table(path, kind, header, optional=optional)
    return made_by, list(rows)


def stream_table(
    path: Path, kind: str, header: list[str], *, optional: int = 0
) -> tuple[MadeBy, Iterator[list[str]]]:
    """As `read_table`, but the rows are cut up one by one: for tables of a million."""
    try:
        mark, written, checksum, rest = (content(path).split(b" ", 3) + [b""] * 3)[:4]
        if mark != b"#":
            raise ValueError("its first line is no record")
        if written.decode() != kind:
            raise ValueError(f"it holds {written.decode()}")
        if blake2b(rest, digest_size=16).hexdigest().encode() != checksum:
            raise ValueError("its checksum does not match its content")
        made_by, columns, *lines = rest.decode().split("\n")[:-1]
        there = columns.split("\t")
        needed = header[: len(header) - optional]
        if [name for name in header if name in needed or name in there] != there:
            raise ValueError(f"its columns are not {', '.join(header)}")
        if any(line.count("\t") != len(there) - 1 for line in lines):
            raise ValueError(f"it has rows of more or fewer than {len(there)} columns")
        rows = (line.split("\t") for line in lines)
        if len(there) < len(header):
            place = [there.index(name) if name in there else -1 for name in header]
            rows = ([row[at] if at >= 0 else "" for at in place] for row in rows)
        return MadeBy.from_json(made_by), rows
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged(path, kind, error) from error
    except OSError as error:
        raise unreadable(path, error) from error
