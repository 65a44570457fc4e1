"""Finds the person of a photograph in a folder of photographs: the most similar first.

    naic-reid find model.pt asked.jpg --in photos/
    naic-reid find model.pt a.jpg b.jpg --in photos/ --best 20 --rerank --html found.html

The gallery's features are remembered between calls and taken anew for files that changed. On a terminal a
table is shown for each photograph; into a pipe go lines of photograph, rank, similarity and name, with tabs
between. Similarity is the cosine of two features, 1 for the same picture; of a network with visible regions,
that of what both pictures show. --rerank orders by k-reciprocal re-ranking (Zhong et al. 2017), which asks
whether two images are among each other's nearest.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from naic_reid.artifacts import Floats
from naic_reid.errors import ReidError
from naic_reid.tools import found_page, gallery, model
from naic_reid.tools.found_page import Hit


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this tool's options."""
    model.arguments(parser)
    parser.add_argument("photos", type=Path, nargs="+", metavar="PHOTO", help="of the person to look for")
    parser.add_argument("--in", type=Path, required=True, dest="gallery", metavar="FOLDER",
                        help="where to look, sub-folders too")  # fmt: skip
    parser.add_argument("--best", type=int, default=10, help="how many are shown; default 10")
    parser.add_argument("--one-person", action="store_true",
                        help="all photographs show one person: look for their mean feature")  # fmt: skip
    parser.add_argument("--html", type=Path, metavar="FILE", help="a page with pictures, written")
    parser.add_argument("--cache", type=Path, metavar="FOLDER", default=gallery.default_cache(),
                        help="where features are remembered; default %(default)s")  # fmt: skip
    group = parser.add_argument_group("re-ranking")
    group.add_argument("--rerank", action="store_true", help="order by k-reciprocal re-ranking")
    group.add_argument("--k1", type=int, default=20, help="neighbours that must be mutual; default 20")
    group.add_argument("--k2", type=int, default=6, help="encodings averaged; default 6")
    group.add_argument("--lambda", type=float, default=0.3, dest="lambda_",
                       help="weight of the plain distance; default 0.3")  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Prints what was found, and writes the page."""
    from naic_reid.retrieval.vectors import similarities  # torch, which --help need not wait for

    _require(options)
    model.apart(options, [options.html], [*options.photos, options.gallery])
    extractor = model.loaded(options)
    asked = extractor.files(dict.fromkeys(options.photos))
    names, rows = gallery.features(extractor, options.model, options.gallery, options.cache)
    groups, queries = [[Path(name)] for name in asked.names], asked.values
    if options.one_person:
        mean = queries.mean(0, keepdims=True)
        groups, queries = [[Path(name) for name in asked.names]], mean / np.linalg.norm(mean)
    answers = []
    near = similarities(queries, rows, extractor.regions)
    ranked = _ranked(queries, rows, near, extractor.regions, options)
    for photos, similar, best, far in zip(groups, near, *ranked, strict=True):
        files = [options.gallery / names[at] for at in best]
        same = [any(file.samefile(photo) for photo in photos) for file in files]
        columns = ([names[at] for at in best], similar[best].tolist(), far.tolist(), same)
        answers.append([Hit(*hit) for hit in zip(*columns, strict=True)])
    _print([" + ".join(map(str, photos)) for photos in groups], answers, options.rerank)
    if options.html:
        how = f"k-reciprocal re-ranking, k1 {options.k1}, k2 {options.k2}, λ {options.lambda_:g}"
        found_page.write(
            options.html, groups, answers, gallery=options.gallery, searched=len(names),
            model=str(options.model), order=how if options.rerank else "similarity",
        )  # fmt: skip
        print(f"{options.html}: the page", file=sys.stderr)
    return 0


def _require(options: argparse.Namespace) -> None:
    for name in ("best", "k1", "k2"):
        if getattr(options, name) < 1:
            raise ReidError(f"--{name} must be at least 1")
    if not 0 <= options.lambda_ <= 1:
        raise ReidError("--lambda must lie in 0 … 1")
    if not options.gallery.is_dir():
        raise ReidError(f"--in: {options.gallery} is no folder")


def _ranked(
    queries: Floats, rows: Floats, near: Floats, regions: int, options: argparse.Namespace
) -> tuple[list[list[int]], Floats]:
    """Rows of the gallery for each query, best first, and the distances that say so."""
    if options.rerank:
        from naic_reid.retrieval.ranking import rank
        from naic_reid.retrieval.rerank import Reranking

        neighbours = min(options.k1, len(queries) + len(rows) - 1)
        how = Reranking(neighbours, min(options.k2, neighbours + 1), options.lambda_)
        order, distances = rank(queries, rows, options.best, rerank=how, regions=regions, device="cpu")
        return order.tolist(), distances
    distances = 1 - near
    best = np.argsort(distances, axis=1, kind="stable")[:, : options.best]
    return best.tolist(), np.take_along_axis(distances, best, 1)


def _print(photos: Sequence[str], answers: Sequence[Sequence[Hit]], reranked: bool) -> None:
    console = Console()
    for photo, hits in zip(photos, answers, strict=True):
        if not console.is_terminal:
            for place, hit in enumerate(hits, start=1):
                print(f"{photo}\t{place}\t{hit.similarity:.4f}\t{hit.name}")
            continue
        table = Table(title=photo, title_justify="left", title_style="bold", header_style="dim", box=None)
        for column in ("rank", "similarity", *(["re-ranked distance"] if reranked else [])):
            table.add_column(column, justify="right")
        table.add_column("image", overflow="fold")
        for place, hit in enumerate(hits, start=1):
            numbers = [str(place), f"{hit.similarity:.3f}", *([f"{hit.distance:.3f}"] if reranked else [])]
            table.add_row(*numbers, hit.name + (" (the same file)" if hit.same_file else ""))
        console.print(table)
