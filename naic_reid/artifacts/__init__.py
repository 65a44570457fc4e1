"""The nouns: what lies between two stages, each a type with a file format that checks itself.

Letters for shapes, here and in every docstring of the package:
N rows, Q queries, G gallery images, D feature length, K neighbours, B batch, P identities in a
batch, C classes, H and W pixels. `row` counts queries first, then the gallery: 0 … Q+G−1.

A value checks itself when built; reading builds; so a file that was damaged, or made by other means
and wrong, is refused with its name. Tables are TSV with a digest in their first line; arrays are
uncompressed `.npz` (zip carries a CRC for each array), written without dates, so that equal content
gives equal bytes, and never with pickles. `Features` may be larger than memory: its values are
mapped, not read.
"""

from naic_reid.artifacts.arrays import read_arrays, write_arrays
from naic_reid.artifacts.checks import Floats, Ints
from naic_reid.artifacts.features import UNIT_TOLERANCE, Features, read_npy, saying_regions, streamed_features
from naic_reid.artifacts.image_list import DISTRACTOR, JUNK, ImageList
from naic_reid.artifacts.json_files import read_json, write_json
from naic_reid.artifacts.made_by import MadeBy, canonical
from naic_reid.artifacts.reading import record
from naic_reid.artifacts.retrieval import NOT_MET, RIGHT, WRONG, Heads, JaccardRows, Neighbours, Ranking
from naic_reid.artifacts.tables import read_table, stream_table, write_table

__all__ = [
    "DISTRACTOR",
    "JUNK",
    "NOT_MET",
    "RIGHT",
    "UNIT_TOLERANCE",
    "WRONG",
    "Features",
    "Floats",
    "Heads",
    "ImageList",
    "Ints",
    "JaccardRows",
    "MadeBy",
    "Neighbours",
    "Ranking",
    "canonical",
    "read_arrays",
    "read_json",
    "read_npy",
    "read_table",
    "record",
    "saying_regions",
    "stream_table",
    "streamed_features",
    "write_arrays",
    "write_json",
    "write_table",
]
