"""VERI-Wild (Lou et al., CVPR 2019): 40,671 vehicles, 174 cameras; lists of three sizes."""

from collections.abc import Iterator

from naic_reid.data.layouts.reading import Counts, Folder, Layout, Options, Row, number

_SIZES = {"small": (3_000, 38_861), "medium": (5_000, 64_389), "large": (10_000, 128_517)}
_EXAMPLE = "00001/000001"


def rows(folder: Folder, options: Options) -> Iterator[Row]:
    """The training list, and the test lists of the variant's size."""
    home = folder.home(("VERI-Wild", "VeRi-Wild", "veriwild"), ("train_test_split",))
    size = _SIZES[options.variant][0]
    lists = {"train": "train_list", "query": f"test_{size}_query", "gallery": f"test_{size}"}
    table = f"{home}train_test_split/vehicle_info.txt"
    cameras = dict(_cameras(folder, table))
    for role, name in lists.items():
        file = f"{home}train_test_split/{name}.txt"
        for line, text in folder.lines(file):
            listed = text.split()[0]
            identity, _, image = listed.partition("/")
            key = listed.rpartition(".")[0] or listed
            if not image or "/" in image:
                folder.wrong(f"is no line of VERI-Wild, as {_EXAMPLE}: {text}", file, line)
            elif key not in cameras:
                folder.wrong(f"vehicle_info.txt has no camera for {key}", file, line)
            elif found := folder.named(f"{home}images/{listed}", line, file):
                yield Row(found, role, identity, cameras[key])


def _cameras(folder: Folder, table: str) -> Iterator[tuple[str, str]]:
    """`vehicle/image` and its camera, of the table's lines after its header."""
    for line, text in folder.lines(table):
        fields = [field.strip() for field in text.split(";")]
        if line == 1:
            continue
        if len(fields) < 2 or not fields[1].isdecimal():
            folder.wrong(f"the camera is no number, as in {_EXAMPLE};12;…: {text}", table, line)
        else:
            yield fields[0], number(fields[1])


LAYOUT = Layout(
    rows,
    "train_test_split/train_list.txt, test_3000.txt, vehicle_info.txt and the folder images, here or in "
    "VERI-Wild",
    _EXAMPLE,
    "market",
    tuple(_SIZES),
    {
        size: {
            "train": Counts(30_671, 277_797),
            "query": Counts(num, num, 105 if size == "small" else None),
            "gallery": Counts(num, gallery, 146 if size == "small" else None),
        }
        for size, (num, gallery) in _SIZES.items()
    },
)
