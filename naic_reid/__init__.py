"""Person re-identification: features, exact re-ranking, training, and a whole competition workflow.

    from naic_reid import Extractor, rank

    extractor = Extractor.load("results/train/small/epoch_20.pt")
    gallery = extractor.folder("photos/")
    best, distances = rank(extractor.files(["asked.jpg"]), gallery, best=10)

What a program needs is imported from here, the moment it is first named: importing the package costs
no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from naic_reid.artifacts import Features as Features
    from naic_reid.extractor import Extractor as Extractor
    from naic_reid.retrieval.ranking import fuse as fuse
    from naic_reid.retrieval.ranking import rank as rank
    from naic_reid.retrieval.rerank import Reranking as Reranking
    from naic_reid.retrieval.scoring import score as score
    from naic_reid.retrieval.scoring import score_distances as score_distances
    from naic_reid.runs import compare as compare

__version__ = "0.1.0"

_PUBLIC = {
    "Extractor": "naic_reid.extractor",
    "Features": "naic_reid.artifacts",
    "Reranking": "naic_reid.retrieval.rerank",
    "compare": "naic_reid.runs",
    "fuse": "naic_reid.retrieval.ranking",
    "rank": "naic_reid.retrieval.ranking",
    "score": "naic_reid.retrieval.scoring",
    "score_distances": "naic_reid.retrieval.scoring",
}
"""Name → the module it is taken from."""

__all__ = [*_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
