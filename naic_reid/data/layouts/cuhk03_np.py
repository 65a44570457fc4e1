"""CUHK03 under the new protocol (Li et al., CVPR 2014; Zhong et al., CVPR 2017): 1,467 persons, two cameras.

Either as its authors pack it, `detected` or `labeled` with three folders of images, or as images written
out of `cuhk-03.mat` into `images_detected` or `images_labeled`, with the protocol's .mat file beside them.
"""

from collections.abc import Iterator

import numpy as np
from scipy.io import loadmat

from naic_reid.data.layouts.reading import Counts, Folder, Layout, Options, Row, boxes

_PLACES = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
_NAME = r"(?P<person>\d+)_c(?P<camera>\d+)_\d+"
_EXAMPLE = "0003_c1_21.png"


def rows(folder: Folder, options: Options) -> Iterator[Row]:
    """The images of one of the two kinds of boxes."""
    config = f"cuhk03_new_protocol_config_{options.variant}.mat"
    home = folder.home(("cuhk03-np", "CUHK03-NP", "cuhk03"), (options.variant, config))
    if not (folder.root / home / config).is_file():
        yield from boxes(folder, options, f"{home}{options.variant}/", _PLACES, _NAME, _EXAMPLE)
        return
    if not folder.within(home + config):
        return
    try:
        raw = loadmat(folder.root / home / config)
        files = [str(np.ravel(name)[0]) for name in np.ravel(raw["filelist"])]
        labels = np.ravel(raw["labels"]).tolist()
        chosen = {role: np.ravel(raw[f"{role}_idx"]).tolist() for role in _PLACES}
        found = [(role, at, files[at - 1], labels[at - 1]) for role, rows in chosen.items() for at in rows]
    except Exception as error:  # SciPy raises whatever the damage leads to
        folder.wrong(f"is not the protocol's file: {error!r}", home + config)
        return
    for role, at, name, label in found:
        fields = name.split("_")
        if len(fields) != 4 or not fields[2].isdecimal():
            folder.wrong(f"{name} tells no view, as 1_001_2_06.png does", home + config, at)
        elif image := folder.named(f"{home}images_{options.variant}/{name}", at, home + config):
            yield Row(image, role, str(label), fields[2])


LAYOUT = Layout(
    rows,
    "the folder labeled or detected with bounding_box_train, query and bounding_box_test, or "
    "cuhk03_new_protocol_config_….mat and images_…, here or in cuhk03-np",
    _EXAMPLE,
    "market",
    ("labeled", "detected"),
    {
        kind: {
            "train": Counts(767, train, 2),
            "query": Counts(700, 1_400, 2),
            "gallery": Counts(700, gallery, 2),
        }
        for kind, train, gallery in (("labeled", 7_368, 5_328), ("detected", 7_365, 5_332))
    },
)
