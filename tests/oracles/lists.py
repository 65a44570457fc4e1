"""The obvious versions of what is done to lists: slow, plain, no imports from the package."""

from collections.abc import Sequence


def line(text: str) -> tuple[str, str] | None:
    """Name and label of a well-formed line, by trying every place to cut; none: it has none."""
    text = text.strip(" \t\r\n")
    for at in range(len(text) - 1, -1, -1):
        if text[at] in " :\t,":
            label = text[at + 1 :]
            name = text[:at]
            while name and name[-1] in " \t":
                name = name[:-1]
            if text[at] in " \t" and name and name[-1] in ":,":  # `name : label`
                name = name[:-1]
                while name and name[-1] in " \t":
                    name = name[:-1]
            return (name, label) if label.isascii() and label.isdigit() and name else None
    return None


def groups(keys: Sequence[str]) -> list[list[int]]:
    """Rows of equal keys by comparing all pairs, as the original compared images."""
    found, taken = [], set()
    for row, key in enumerate(keys):
        if row in taken:
            continue
        same = [other for other in range(row, len(keys)) if keys[other] == key]
        taken |= set(same)
        if len(same) > 1:
            found.append(same)
    return found


def united(links: Sequence[tuple[int, int]], identities: Sequence[str]) -> dict[str, set[str]]:
    """Identity → all identities that are the same person, by relabelling until nothing changes."""
    people = {identities[row]: {identities[row]} for link in links for row in link}
    changed = True
    while changed:
        changed = False
        for first, second in links:
            both = people[identities[first]] | people[identities[second]]
            for name in both:
                if people[name] != both:
                    people[name] = both
                    changed = True
    return people


def kept(rows: Sequence[tuple[str, str, str]], wrong: set[str], min_images: int) -> dict[str, str]:
    """Path → person of the images to train on; rows are (path, `source/label`, pixels), by trust.

    Written step by step as the issue tells it, each step over all pairs.
    """
    left = [row for row in rows if row[0] not in wrong]
    left = [row for at, row in enumerate(left) if row[:2] not in [other[:2] for other in left[:at]]]
    contradicting = [
        (path, identity, pixels)
        for path, identity, pixels in left
        if any(
            pixels == other_pixels and identity != other and identity.split("/")[0] == other.split("/")[0]
            for _, other, other_pixels in left
        )
    ]
    left = [row for row in left if row not in contradicting]
    person = {identity: identity for _, identity, _ in left}
    # A person is called as in the first row that links: the first of an image, or one that differs from it.
    first_of: dict[str, str] = {}
    for _, identity, pixels in left:
        first_of.setdefault(pixels, identity)
    linking = [
        identity
        for at, (_, identity, pixels) in enumerate(left)
        if identity != first_of[pixels]
        or (
            pixels not in [other for _, _, other in left[:at]]
            and any(pixels == other and identity != name for _, name, other in left)
        )
    ]
    order = list(dict.fromkeys([*linking, *person]))
    changed = True
    while changed:
        changed = False
        for _, one, pixels in left:
            for _, other, other_pixels in left:
                first = min(person[one], person[other], key=order.index)
                if pixels == other_pixels and person[one] != person[other]:
                    for name in order:
                        if person[name] in (person[one], person[other]) and person[name] != first:
                            person[name] = first
                            changed = True
    first_seen: dict[str, tuple[str, str]] = {}
    for path, identity, pixels in left:
        first_seen.setdefault(pixels, (path, person[identity]))
    images = list(first_seen.values())
    return {path: name for path, name in images if sum(other == name for _, other in images) >= min_images}
