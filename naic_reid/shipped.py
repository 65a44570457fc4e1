"""Where what comes with the package lies: the Snakefile, workflow, profiles, configs and lists.

A checkout has them beside the package; an installed wheel inside it.
"""

from pathlib import Path

from naic_reid.errors import ReidError
from naic_reid.files import absolute

_PACKAGE = Path(__file__).parent
_INSTALLED = _PACKAGE / "share"  # filled when the wheel is built

HOME = _INSTALLED if _INSTALLED.is_dir() else _PACKAGE.parent
"""The folder that holds `Snakefile`, `workflow/`, `profiles/`, `configs/` and `data_lists/`."""


def named(kind: str, given: str) -> Path:
    """The file or folder of that path or, where there is none, the shipped one of that name.

    Args:
        kind: `configs` or `profiles`, the folder of the shipped ones.
        given: a path, or a name such as `small`.

    Raises:
        ReidError: neither is there; the shipped names are listed.
    """
    if Path(given).exists():
        return absolute(Path(given))
    known = {
        path.stem: path for path in sorted((HOME / kind).iterdir()) if path.is_dir() == (kind == "profiles")
    }
    name = given.removesuffix(".yaml").removeprefix(f"{kind}/")
    if name not in known:
        raise ReidError(f"{given} does not exist; of {kind} these come with naic-reid: {', '.join(known)}")
    return known[name]
