"""PKU VehicleID (Liu et al., CVPR 2016): lists of image numbers and vehicles, cameras unknown.

A test image is query or gallery by the draw of the protocol, so each test image has both roles here.
"""

from collections.abc import Iterator

from naic_reid.data.layouts.reading import Counts, Folder, Layout, Options, Row

_SIZES = {"small": 800, "medium": 1_600, "large": 2_400}
_IMAGES = {"small": 6_493, "medium": 13_377, "large": 19_777}
_EXAMPLE = "0000137 7"


def rows(folder: Folder, options: Options) -> Iterator[Row]:
    """The training list, and the test list of the variant's size in both roles."""
    home = folder.home(("VehicleID", "VehicleID_V1.0", "vehicleid"), ("train_test_split",))
    lists = {"train_list": ("train",), f"test_list_{_SIZES[options.variant]}": ("query", "gallery")}
    for name, roles in lists.items():
        file = f"{home}train_test_split/{name}.txt"
        for line, text in folder.lines(file):
            fields = text.split()
            if len(fields) != 2 or not fields[1].isdecimal():
                folder.wrong(f"is no line of VehicleID, as {_EXAMPLE}: {text}", file, line)
            elif image := folder.named(f"{home}image/{fields[0]}", line, file):
                for role in roles:
                    yield Row(image, role, fields[1])


LAYOUT = Layout(
    rows,
    "train_test_split/train_list.txt, test_list_800.txt and the folder image, here or in VehicleID",
    _EXAMPLE,
    "vehicleid",
    tuple(_SIZES),
    {
        size: {
            "train": Counts(13_164, 113_346),
            "query": Counts(num, _IMAGES[size]),
            "gallery": Counts(num, _IMAGES[size]),
        }
        for size, num in _SIZES.items()
    },
)
