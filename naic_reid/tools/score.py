"""Scores two .npy files of features, float32 [Q, D] and [G, D], by lists of who is on each row.

A list is a CSV with the columns identity and, where cameras are known, camera; a line for each row. Identity
-1 is junk, which no query meets. This is naic_reid.score, whose docstring says more.

    naic-reid score query.npy gallery.npy --query-list q.csv --gallery-list g.csv --protocol market
"""

import argparse
import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from naic_reid import files
from naic_reid.artifacts import read_npy
from naic_reid.errors import ReidError

if TYPE_CHECKING:
    from naic_reid.retrieval.rerank import Reranking

_SETTINGS = ("regions", "protocol", "seed", "device", "threads", "memory")
COLUMNS = ("identity", "camera")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this tool's options."""
    parser.add_argument("query", type=Path, metavar="QUERY.npy", help="float32 [Q, D]")
    parser.add_argument("gallery", type=Path, metavar="GALLERY.npy", help="float32 [G, D]")
    parser.add_argument("--query-list", type=Path, required=True, metavar="CSV", help="identity,camera")
    parser.add_argument("--gallery-list", type=Path, required=True, metavar="CSV", help="identity,camera")
    parser.add_argument("--regions", type=int, default=0, metavar="P",
                        help="the last P numbers of a row are masses of visible regions")  # fmt: skip
    parser.add_argument("--protocol", default="market", help="naic, market, market_trapezoid, single_shot, "
                        "vehicleid; default market")  # fmt: skip
    parser.add_argument("--rerank", action="store_true", help="by re-ranking")
    parser.add_argument("--method", choices=("k_reciprocal", "graph"),
                        help="of re-ranking; default k_reciprocal")  # fmt: skip
    parser.add_argument("--k1", type=int, help="of re-ranking; default 20")
    parser.add_argument("--k2", type=int, help="of re-ranking; default 6")
    parser.add_argument("--lambda", type=float, dest="lambda_", help="of re-ranking; default 0.3")
    parser.add_argument("--seed", type=int, default=0, help="of a protocol's draws; default 0")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the scores there")
    parser.add_argument("--device", default="auto", help="cpu, cuda; default auto")
    parser.add_argument("--threads", type=int, default=0, help="default 0: all processors")
    parser.add_argument(
        "--memory", default="", help="of re-ranking, such as 6GB; default half of what is free"
    )


def run(options: argparse.Namespace) -> int:
    """Prints the scores in percent under the rule in words; writes them as fractions."""
    from naic_reid.retrieval import protocols
    from naic_reid.retrieval.scoring import score  # torch, which --help need not wait for

    rule = protocols.named(options.protocol)
    if rule.trial == "groups":
        raise ReidError("--protocol groups: a list of identities and cameras names no groups; run the walk")
    if options.threads < 0:
        raise ReidError("--threads must be at least 0")
    how = _reranking(options)
    read = [options.query, options.gallery, options.query_list, options.gallery_list]
    files.apart([options.json], read)
    query, gallery = read_npy(options.query), read_npy(options.gallery)
    asked = _listed(options.query_list, len(query), options.query)
    searched = _listed(options.gallery_list, len(gallery), options.gallery)
    settings = {name: getattr(options, name) for name in _SETTINGS}
    scores = score(
        query, gallery, asked["identity"], searched["identity"], asked["camera"], searched["camera"],
        rerank=how, **settings,
    )  # fmt: skip
    if options.json:
        with files.whole(options.json) as unfinished:
            whole = {"protocol": options.protocol, "reranked": options.rerank, "rules": rule.rules, **scores}
            unfinished.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    _tell(rule.rules, scores)
    return 0


def _reranking(options: argparse.Namespace) -> "Reranking | None":
    """What is asked for; its words alone are refused."""
    from naic_reid.retrieval.rerank import Reranking

    words: dict[str, Any] = {"method": "k_reciprocal", "k1": 20, "k2": 6, "lambda_": 0.3}
    given = [name for name in (*words, "memory") if getattr(options, name) not in (None, "")]
    if not options.rerank:
        if given:
            named = ", ".join(f"--{name.removesuffix('_')}" for name in given)
            raise ReidError(f"{named}: of re-ranking, which only --rerank does: add it, or leave {named} out")
        return None
    values = words | {name: getattr(options, name) for name in given if name in words}
    for name in ("k1", "k2"):
        if values[name] < 1:
            raise ReidError(f"--{name} must be at least 1")
    if not 0 <= values["lambda_"] <= 1:
        raise ReidError("--lambda must lie in 0 … 1")
    return Reranking(values["k1"], values["k2"], values["lambda_"], values["method"])


def _tell(rules: dict[str, str], scores: dict[str, Any]) -> None:
    for topic, meaning in rules.items():
        print(f"{topic}: {meaning}")
    trials = f", {scores['trials']} trials" if "trials" in scores else ""
    print(f"{scores['queries']} queries{trials}; per cent:")
    for name, value in scores.items():
        if isinstance(value, float):
            deviation = scores.get("deviation", {}).get(name)
            print(
                f"  {name:<22}{100 * value:6.2f}" + ("" if deviation is None else f" ± {100 * deviation:.2f}")
            )


def _listed(path: Path, num: int, features: Path) -> dict[str, list[str]]:
    """The columns of a list that has a line for each of `num` rows of features."""
    try:
        text = files.regular(path).read_text(encoding="utf-8-sig")
        header, *rows = list(csv.reader(text.splitlines(), strict=True)) or [[]]
    except OSError as error:
        raise ReidError(
            f"{path}: cannot be read: {error.strerror or error}; name an existing file"
        ) from error
    except (ValueError, csv.Error) as error:
        raise ReidError(
            f"{path}: not a table in UTF-8: {error}; its first line is identity,camera"
        ) from error
    if "identity" not in header or len(set(header)) < len(header):
        raise ReidError(
            f"{path}: its first line is {','.join(header)}, and must name identity and camera once"
        )
    for line, row in enumerate(rows, 2):
        if len(row) != len(header):
            raise ReidError(f"{path}:{line}: {len(row)} cells, where the first line has {len(header)}")
        if not row[header.index("identity")].strip():
            raise ReidError(f"{path}:{line}: no identity; write -1 for junk")
    if len(rows) != num:
        raise ReidError(
            f"{path}: {len(rows)} images, but {features} has {num} rows of features: give a line for each row"
        )
    columns = {name: [row[place].strip() for row in rows] for place, name in enumerate(header)}
    return {"camera": [""] * num} | columns
