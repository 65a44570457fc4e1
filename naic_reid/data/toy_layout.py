"""Where the drawn persons lie: the competition's folders and lists, with its known traps planted.

Four training sources in the two published line formats, a query and a gallery folder, and among them
what real releases contain: byte-identical copies across sources and within one, the same pixels
encoded anew, a person under two labels, an image under two persons, a repeated line, CR LF line ends,
a missing final newline, persons seen once, and the three wrongly labelled names of 2019.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from naic_reid.data.toy import Domain, generator

WRONG_NAMES = ("105180993.png", "829283568.png", "943445997.png")
"""The wrongly labelled names of the 2019 data, as published."""

FIRST, AGAIN = 1, 9
"""PNG compression levels: of an image, and of the same pixels in other bytes."""

_ORDER = 3  # generator key: the order of lines in a list
_NUM_ALONE = 3  # persons with a single image
_NUM_QUERIES = 2  # of each test person


@dataclass(frozen=True)
class Shot:
    """One file: which image of which person it holds, and how it is encoded."""

    path: str
    person: int
    image: int
    """Number among the person's images: files equal in (person, image) are equal in pixels."""
    camera: int
    domain: Domain
    compression: int = FIRST


@dataclass(frozen=True)
class Layout:
    """All files of the folder, the label lists' bytes by path, and the truth about query and gallery."""

    shots: tuple[Shot, ...]
    lists: dict[str, bytes]
    truth: tuple[tuple[str, str, str, str], ...]
    """(subset, file name, person, camera), sorted."""
    labels: dict[str, int]
    """`source/label`, as `configs/toy.yaml` names the sources → the person."""


@dataclass
class _Source:
    """A training source being filled: folder of images, label list in its line format."""

    folder: str
    line: str
    """`{name}` and `{label}` as the published list writes them."""
    labels: dict[int, int] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    def entry(self, name: str, person: int) -> str:
        return self.line.format(name=name, label=self.labels.setdefault(person, len(self.labels)))


class _Writer:
    """Collects files; names are unique numbers that tell nothing."""

    def __init__(self, cameras: int) -> None:
        self.cameras = cameras
        self.shots: list[Shot] = []

    def add(
        self, folder: str, person: int, image: int, *, digits: int, name: str = "", level: int = FIRST
    ) -> str:
        """Puts an image into a folder; returns the file's name."""
        # Odd and no multiple of 5, hence prime to 10^digits: every count gives another number.
        number = (len(self.shots) * 618033989 + 271828183) % 10**digits
        name = name or f"{number:0{digits}}.png"
        shot = Shot(
            f"{folder}/{name}", person, image, (person + image) % self.cameras, domain_of(person), level
        )
        self.shots.append(shot)
        return name


def domain_of(person: int) -> Domain:
    """A person stays in one domain; half of every source's and of the test's persons are in each."""
    return "green" if (person + person // 8) % 2 else "normal"


def layout(seed: int, train_identities: int, test_identities: int, images: int, cameras: int) -> Layout:
    """Where everything lies.

    Persons are numbered: those to train on, those to test, those seen once. Sources share them by
    person modulo 8, so that eight persons already hold every trap.
    """
    out = _Writer(cameras)
    sources = {
        "2019_cs": _Source("train_2019_cs/train", "train/{name} {label}"),
        "2019_fs": _Source("train_2019_fs/train", "train/{name} {label}"),
        "2020_cs": _Source("train_2020_cs/images", "{name}:{label}"),
        "2020_fs": _Source("train_2020_fs/images", "{name}:{label}"),
    }

    def put(source: str, person: int, image: int, *, name: str = "", level: int = FIRST) -> str:
        into = sources[source]
        digits = 9 if source.startswith("2019") else 8
        name = out.add(into.folder, person, image, digits=digits, name=name, level=level)
        into.lines.append(into.entry(name, person))
        return name

    for person in range(train_identities):
        home = ("2020_fs",) * 4 + ("2020_cs",) * 2 + ("2019_fs", "2019_cs")
        for image in range(images):
            moved = person % 8 == 0 and image >= images // 2  # the second half under another label
            put("2020_cs" if moved else home[person % 8], person, image)
        for source, image, level in _copies(person % 8):
            put(source, person, image, level=level)
    for number in range(_NUM_ALONE):
        put(("2020_fs", "2020_cs", "2019_cs")[number], train_identities + test_identities + number, 0)

    # An image under two persons of one source: as a copy, and as one name on two lines.
    fs, cs = sources["2020_fs"], sources["2019_cs"]
    copy = out.add(fs.folder, 3, 1, digits=8)
    fs.lines.append(fs.entry(copy, 2))
    cs.lines.append(cs.entry(put("2019_cs", 7, images), 6))
    # Wrong labels: images of person 3 under person 6; both 2019 sources have them, one of the names twice.
    for number, name in enumerate(WRONG_NAMES):
        for source in ("2019_fs", "2019_cs")[: 2 if number == 0 else 1]:
            out.add(sources[source].folder, 3, images + 1 + number, digits=9, name=name)
            sources[source].lines.append(sources[source].entry(name, 6))

    lists = {}
    for number, (name, filled) in enumerate(sources.items()):
        generator(seed, _ORDER, number).shuffle(filled.lines)
        lists[f"train_{name}/train_list.txt"] = _list_bytes(name, filled.lines)
    truth = sorted(_test(out, range(train_identities, train_identities + test_identities), images))
    labels = {
        f"{name.replace('_', '')}/{label}": person
        for name, filled in sources.items()
        for person, label in filled.labels.items()
    }
    return Layout(tuple(out.shots), lists, tuple(truth), labels)


def _copies(kind: int) -> list[tuple[str, int, int]]:
    """(source, image, compression) of what is there a second time, by person modulo 8."""
    return {
        0: [("2020_cs", 0, FIRST)],  # links the two labels of this person
        1: [("2020_cs", 0, FIRST), ("2020_cs", 1, FIRST), ("2020_cs", 2, AGAIN)],
        2: [("2020_fs", 0, FIRST)],  # twice in one source, under one label
        6: [("2019_cs", 0, FIRST), ("2019_cs", 1, AGAIN), ("2019_cs", 2, AGAIN)],
    }.get(kind, [])


def _list_bytes(name: str, lines: list[str]) -> bytes:
    if name == "2020_cs":
        return "".join(f"{line}\r\n" for line in [*lines, lines[0]]).encode()  # CR LF, and a line repeated
    text = "".join(f"{line}\n" for line in lines)
    return text.removesuffix("\n").encode() if name == "2019_cs" else text.encode()


def _test(out: _Writer, persons: range, images: int) -> Iterator[tuple[str, str, str, str]]:
    for person in persons:
        for image in range(images):
            role = "query" if image < _NUM_QUERIES else "gallery"
            name = out.add(f"image_B_v1_1/{role}", person, image, digits=8)
            yield role, name, f"{person:03}", str(out.shots[-1].camera + 1)
