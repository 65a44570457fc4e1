"""Files are there whole or not at all."""

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from naic_reid import errors, files
from naic_reid.errors import ReidError
from naic_reid.files import digest, whole


def test_a_file_appears_only_when_the_block_ends_well(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "result.txt"
    with whole(target) as part:
        part.write_text("half")
        assert not target.exists()
    assert target.read_text() == "half"
    assert os.listdir(target.parent) == ["result.txt"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "result.txt"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), whole(target) as part:
        part.write_text("new")
        _ = 1 / 0
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["result.txt"]


def test_a_folder_replaces_an_older_one_in_one_step(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    for content in ("one", "two"):
        with whole(target, folder=True) as part:
            (part / content).write_text(content)
    assert os.listdir(target) == ["two"]
    assert os.listdir(tmp_path) == ["folder"]


def test_what_a_killed_writer_left_is_swept_up_by_the_next(tmp_path: Path) -> None:
    target = tmp_path / "result [1].txt"
    script = (
        "import os, sys; from pathlib import Path; from naic_reid.files import whole\n"
        "with whole(Path(sys.argv[1])) as part:\n    part.write_text('half'); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", script, str(target)], check=False).returncode == -9
    assert len(os.listdir(tmp_path)) == 1
    assert not target.exists()
    with whole(target) as part:
        part.write_text("all")
    assert os.listdir(tmp_path) == [target.name]


def test_a_parent_that_is_a_file_is_named_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("")
    with (
        pytest.raises(ReidError, match=r"blocked.*cannot be written.*nothing was changed"),
        whole(tmp_path / "blocked" / "result") as part,
    ):
        part.write_text("")


def test_an_error_about_another_file_is_not_blamed_on_the_output(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), whole(tmp_path / "out") as part:
        part.write_bytes(Path("/nonexistent/input").read_bytes())


def test_equal_bytes_have_equal_digests(tmp_path: Path) -> None:
    for name, content in {"a": b"x" * 3_000_000, "b": b"x" * 3_000_000, "c": b"x" * 2_999_999}.items():
        (tmp_path / name).write_bytes(content)
    assert digest(tmp_path / "a") == digest(tmp_path / "b") != digest(tmp_path / "c")


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are read for their digests."""
    read: list[Path] = []

    def counting(path: Path) -> str:
        read.append(path)
        return digest(path)

    files.forget_digests()
    monkeypatch.setattr(files, "digest", counting)
    monkeypatch.setattr(files, "_TICK", 0)
    monkeypatch.delenv(files.MEMORY, raising=False)
    return read


def test_a_file_is_read_once_for_its_digest_until_it_changes(tmp_path: Path, counted: list[Path]) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"first")
    about = path.stat()
    first = files.known_digest(path)
    assert files.known_digest(path) == first == digest(path)
    assert counted == [path]
    path.write_bytes(b"other")  # of the same size, and with the same time
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert files.known_digest(path) == digest(path) != first
    assert counted == [path, path]


def test_a_file_that_has_just_changed_is_not_believed_yet(
    tmp_path: Path, counted: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_TICK", 10**12)
    (tmp_path / "a").write_bytes(b"first")
    for _ in range(2):
        files.known_digest(tmp_path / "a")
    assert len(counted) == 2


def test_what_one_process_read_or_wrote_another_need_not_read(
    tmp_path: Path, counted: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(files.MEMORY, str(tmp_path / "scratch" / "digests"))
    with whole(tmp_path / "a") as part:
        part.write_bytes(b"content")
    with whole(tmp_path / "scratch" / "b") as part:
        part.write_bytes(b"for nobody")
    assert counted == [tmp_path / "a"]
    files.forget_digests()  # as another process
    assert files.known_digest(tmp_path / "a") == digest(tmp_path / "a")
    assert len(counted) == 1
    (remembered,) = (tmp_path / "scratch" / "digests").iterdir()
    for damaged in (b"", remembered.read_bytes()[:-1], b"\xff" * 80):
        remembered.write_bytes(damaged)
        files.forget_digests()
        assert files.known_digest(tmp_path / "a") == digest(tmp_path / "a")
    assert len(counted) == 4


def test_a_stream_tells_the_digest_of_what_went_through_it(
    tmp_path: Path, counted: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(files.MEMORY, str(tmp_path / "scratch" / "digests"))
    with files.streamed(tmp_path / "a") as stream:
        stream.write(b"con")
        stream.write(b"tent")
    with pytest.raises(RuntimeError), files.streamed(tmp_path / "a") as stream:
        stream.write(b"cut off")
        raise RuntimeError
    assert files.known_digest(tmp_path / "a") == digest(tmp_path / "a")
    assert counted == []
    assert (tmp_path / "a").read_bytes() == b"content"


def test_who_reads_a_files_content_knows_its_digest(tmp_path: Path, counted: list[Path]) -> None:
    (tmp_path / "a").write_bytes(b"content")
    assert files.content(tmp_path / "a") == b"content"
    assert files.known_digest(tmp_path / "a") == digest(tmp_path / "a")
    assert counted == []


def test_what_is_read_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    (tmp_path / "link").symlink_to("a")
    files.apart([None, tmp_path / "b"], [tmp_path / "a"])
    with pytest.raises(ReidError, match="link: is read by this command, and would be overwritten"):
        files.apart([tmp_path / "link"], [tmp_path / "a"])


def test_a_folder_is_no_place_for_a_file(tmp_path: Path) -> None:
    for place in (tmp_path, Path()):
        with pytest.raises(ReidError, match="is a folder; name a file in it"), whole(place):
            pass


def test_what_a_limited_file_or_a_full_disk_leads_to_is_said_in_a_sentence(tmp_path: Path) -> None:
    for error in (
        OSError(errno.EFBIG, "File too large"),
        OSError("17400 requested and 2528 written"),  # numpy.save
        RuntimeError("[enforce fail at inline_container.cc:659] . unexpected pos 64 vs 0"),  # torch.save
    ):
        with (
            pytest.raises(ReidError, match=r"x\.npy: cannot be written .*nothing was changed"),
            whole(tmp_path / "x.npy") as part,
        ):
            part.write_bytes(b"half")
            raise error
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RuntimeError, match="of ours"), whole(tmp_path / "x.npy"):
        raise RuntimeError("of ours")


def test_a_link_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere/at/all")
    with (
        pytest.raises(ReidError, match=r"link is a symbolic link that leads nowhere"),
        whole(tmp_path / "link" / "x"),
    ):
        pass


READS = re.compile(
    r"\.read_text\(|\.read_bytes\(|\.open\(\"rb\"|(np|torch)\.load\((?!io\.|read\))|ZipFile\((?!unfinished|io\.)"
)
NONE_OF_THE_USERS = ("architecture.py", "machine.py", "stages/__init__.py", "zoo.py")  # what ships, and /proc


def test_every_file_is_opened_only_when_it_is_one() -> None:
    """A pipe, a socket or a device where a file belongs would be waited for."""
    package = Path(errors.__file__).parent
    lines = [
        f"{module.relative_to(package).as_posix()}: {line.strip()}"
        for module in sorted(package.rglob("*.py"))
        for line in module.read_text(encoding="utf-8").splitlines()
        if READS.search(line) and "regular(" not in line
    ]
    found = [line for line in lines if not line.startswith(NONE_OF_THE_USERS)]
    # What we have written ourselves, a piece of advice, and /proc.
    assert [line.partition(":")[0] for line in found] == [
        "files.py",
        "files.py",
        "models/weights.py",
        "tools/benchmark.py",
        "tools/doctor.py",
        "tools/export.py",
        "tools/onnx_model.py",
        "tools/samples.py",
    ]


def test_no_pipe_device_or_stream_is_replaced_by_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "stdout").symlink_to("/proc/self/fd/1")  # as /dev/stdout is
    for name, what in (("pipe", "a named pipe"), ("stdout", "a stream")):
        with pytest.raises(ReidError, match=f"{name}: is {what}; name a file"), whole(tmp_path / name):
            pass
    assert (tmp_path / "pipe").is_fifo()
    assert (tmp_path / "stdout").is_symlink()


def test_a_name_that_no_file_can_have_is_said_so(tmp_path: Path) -> None:
    with (
        pytest.raises(ReidError, match=r"cannot be written .File name too long"),
        whole(tmp_path / ("x" * 300)),
    ):
        pass
    with pytest.raises(ReidError, match="no file can be called so"):
        files.apart([Path("a\0b")], [])


def test_json_of_any_depth_is_read_or_refused(tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="nested too deep"):
        files.json_in(tmp_path / "deep.json")
    (tmp_path / "plain.json").write_text('{"a": 1}')
    assert files.json_in(tmp_path / "plain.json") == {"a": 1}
