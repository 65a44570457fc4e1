"""Re-ranks with nothing but two .npy files of features: float32 [Q, D] and [G, D], one row an image.

Writes the indices into the gallery, nearest first, as int32 [Q, R] .npy; and, asked for, their
distances. The files are mapped, so they may be larger than memory. This is naic_reid.rank; Reranking in
naic_reid.retrieval.rerank says what the words mean.

    naic-reid rank query.npy gallery.npy --k1 20 --k2 6 --lambda 0.3 --indices ranking.npy
"""

import argparse
from pathlib import Path

import numpy as np

from naic_reid import files
from naic_reid.artifacts import read_npy
from naic_reid.errors import ReidError


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this tool's options."""
    parser.add_argument("query", type=Path, metavar="QUERY.npy", help="float32 [Q, D]")
    parser.add_argument("gallery", type=Path, metavar="GALLERY.npy", help="float32 [G, D]")
    parser.add_argument("--regions", type=int, default=0, metavar="P",
                        help="the last P numbers of a row are masses of visible regions")  # fmt: skip
    parser.add_argument("--indices", type=Path, required=True, metavar="FILE", help="int32 [Q, R], written")
    parser.add_argument("--distances", type=Path, metavar="FILE", help="float32 [Q, R], written")
    parser.add_argument("--k1", type=int, default=30, help="neighbours that must be mutual; default 30")
    parser.add_argument("--k2", type=int, default=2, help="encodings averaged; 1: none; default 2")
    parser.add_argument("--lambda", type=float, default=0.8, dest="lambda_",
                        help="weight of the original distance; default 0.8")  # fmt: skip
    parser.add_argument("--best", type=int, default=200, help="columns R; default 200")
    parser.add_argument(
        "--query-expansion", type=int, default=0, help="αQE over so many first; default 0: none"
    )
    parser.add_argument("--alpha", type=float, default=3.0, help="of αQE; default 3, 0: plain average")
    parser.add_argument("--method", choices=("k_reciprocal", "graph"), default="k_reciprocal",
                        help="default k_reciprocal; graph: propagation among neighbours")  # fmt: skip
    parser.add_argument("--norm", choices=("rowmax", "none"), default="rowmax", help="none: fast-reid")
    parser.add_argument("--power", type=int, choices=(1, 2), default=1, help="2: torchreid")
    parser.add_argument("--count-self", action="store_true", help="k1 counts the image itself: fast-reid")
    parser.add_argument("--device", default="auto", help="cpu, cuda; default auto")
    parser.add_argument("--threads", type=int, default=0, help="default 0: all processors")
    parser.add_argument("--memory", default="", help="such as 6GB; default half of what is free")


def run(options: argparse.Namespace) -> int:
    """Writes the ranking; prints one line about it."""
    from naic_reid.retrieval.memory import budget  # torch, which --help need not wait for
    from naic_reid.retrieval.ranking import rank
    from naic_reid.retrieval.rerank import Reranking, expanded
    from naic_reid.retrieval.vectors import choose

    for name, least in (("k1", 1), ("k2", 1), ("best", 1), ("query_expansion", 0), ("threads", 0)):
        if getattr(options, name) < least:
            raise ReidError(f"--{name.replace('_', '-')} must be at least {least}")
    if not 0 <= options.lambda_ <= 1:
        raise ReidError("--lambda must lie in 0 … 1")
    if not 0 <= options.alpha < float("inf"):
        raise ReidError("--alpha must be a number from 0")
    files.apart([options.indices, options.distances], [options.query, options.gallery])
    how = Reranking(*(getattr(options, name) for name in Reranking._fields))
    speed = {name: getattr(options, name) for name in ("regions", "device", "threads", "memory")}
    query, gallery = read_npy(options.query), read_npy(options.gallery)
    if options.query_expansion:
        device = choose(options.device)
        query, gallery = expanded(
            query, gallery, options.query_expansion, options.alpha,
            regions=options.regions, device=device, threads=options.threads,
            memory=budget(options.memory, device),
        )  # fmt: skip
    indices, distances = rank(query, gallery, options.best, rerank=how, **speed)
    for path, values in ((options.indices, indices), (options.distances, distances)):
        if path is not None:
            with files.whole(path) as unfinished, unfinished.open("wb") as handle:
                np.save(handle, values)
    print(f"{options.indices}: {indices.shape[0]} queries, the best {indices.shape[1]} of the gallery each")
    return 0
