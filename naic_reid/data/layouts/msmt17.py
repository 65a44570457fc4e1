"""MSMT17 (Wei et al., CVPR 2018): 4,101 persons, fifteen cameras, named by four lists.

Both releases: V1, and V2 with blurred faces; where both lie side by side, V1 is read. The camera is the
third field of a path. The validation list shows the same 1,041 persons as the training list; variant
`trainval` trains on both, as some papers do. Test persons are numbered from 0 again.
"""

from collections.abc import Iterator

from naic_reid.data.layouts.reading import Counts, Folder, Layout, Options, Row, number

_LISTS = {role: f"list_{role}.txt" for role in ("train", "val", "query", "gallery")}
_IMAGES = {"train": ("train", "mask_train_v2"), "test": ("test", "mask_test_v2")}
_EXAMPLE = "0000/0000_045_12_0303morning_0006_2.jpg 0"


def rows(folder: Folder, options: Options) -> Iterator[Row]:
    """The lines of the four lists."""
    home = folder.home(("MSMT17_V1", "MSMT17_V2", "MSMT17"), tuple(_LISTS.values()))
    for role, file in _LISTS.items():
        images = folder.first(home, *_IMAGES["train" if role in ("train", "val") else "test"])
        shown = "train" if role == "val" and options.variant == "trainval" else role
        for line, text in folder.lines(home + file):
            path, _, identity = text.rpartition(" ")
            fields = path.rpartition("/")[2].split("_")
            if not identity.isdecimal() or len(fields) < 3:
                folder.wrong(f"is no line of MSMT17, as {_EXAMPLE}: {text}", home + file, line)
            elif not fields[2].isdecimal():
                folder.wrong(f"the camera {fields[2]!r} is no number: {text}", home + file, line)
            elif image := folder.named(f"{images}/{path}", line, home + file):
                yield Row(image, shown, identity, number(fields[2]))


_TEST = {"query": Counts(3_060, 11_659, 15), "gallery": Counts(3_060, 82_161, 15)}
LAYOUT = Layout(
    rows,
    "list_train.txt, list_val.txt, list_query.txt and list_gallery.txt, here or in MSMT17_V1 or MSMT17_V2",
    _EXAMPLE,
    "market",
    ("", "trainval"),
    {
        "": {"train": Counts(1_041, 30_248, 15), "val": Counts(1_041, 2_373, 15), **_TEST},
        "trainval": {"train": Counts(1_041, 32_621, 15), **_TEST},
    },
)
