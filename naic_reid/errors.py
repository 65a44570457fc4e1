"""The one kind of error a user is expected to meet."""

from collections.abc import Iterator
from contextlib import contextmanager


class ReidError(Exception):
    """A mistake the user can mend. The message names the file or key and says what would be right."""


def listing(problems: list[str], heading: str, first: int = 20, *, more: bool = False) -> ReidError:
    """One error for many problems: the heading, the first few, and how many there are in all.

    `more`: nobody looked whether there are others.
    """
    shown = "\n".join(f"  {problem}" for problem in problems[:first])
    rest = f"\n  … and {len(problems) - first} more" if len(problems) > first else ""
    number = f"{len(problems)} and more" if more else f"{len(problems)} in all"
    return ReidError(f"{heading} ({number}):\n{shown}{rest}")


@contextmanager
def extra(name: str, what: str) -> Iterator[None]:
    """Imports of a package that not every installation has; its absence becomes a sentence with the remedy.

    Args:
        name: of the extra that brings the package.
        what: needs it, as the user knows it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "a package").partition(".")[0]
        raise ReidError(
            f"{what} needs {package}, which is not here: pip install 'naic-reid[{name}]'"
        ) from error
