"""The one kind of error a user is expected to meet."""


class ReidError(Exception):
    """A mistake the user can mend. The message names the file or key and says what would be right."""


def listing(problems: list[str], heading: str, first: int = 20) -> ReidError:
    """One error for many problems: the heading, the first few, and how many there are in all."""
    shown = "\n".join(f"  {problem}" for problem in problems[:first])
    rest = f"\n  … and {len(problems) - first} more" if len(problems) > first else ""
    return ReidError(f"{heading} ({len(problems)} in all):\n{shown}{rest}")
