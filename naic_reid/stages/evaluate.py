"""Scores every member and their fusion, with and without re-ranking, where the truth is known."""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from naic_reid import labels as labelled
from naic_reid import members
from naic_reid import scores as scored
from naic_reid.artifacts import Features, Heads, ImageList, MadeBy, Ranking, write_json
from naic_reid.config import Ensemble, Fuse, Model, Rerank
from naic_reid.errors import ReidError
from naic_reid.progress import shown
from naic_reid.retrieval import best as nearest_of
from naic_reid.retrieval import distances, protocols, vectors
from naic_reid.retrieval.distances import PLAIN, Member, Mix
from naic_reid.retrieval.evaluation import Evaluation, Head
from naic_reid.retrieval.memory import budget
from naic_reid.retrieval.metrics import RATES, Histogram, Hits, Roc

REVISION = 5
FUSION = "fusion"
HEAD = 20  # places of every list that are kept for the eye
_log = logging.getLogger(__name__)


def run(
    rerank: Rerank,
    models: dict[str, Model],
    ensemble: Ensemble,
    fuse: Fuse,
    seed: int,
    protocol: str,
    *,
    query_list: Path,
    gallery_list: Path,
    multi_query_list: list[Path],
    others: list[Path],
    other_queries: list[Path],
    query: list[Path],
    gallery: list[Path],
    multi_query: list[Path],
    jaccard: list[Path],
    ranking: Path,
    truth: list[Path],
    scores: Path,
    heads: Path,
    device: str = "auto",
    threads: int = 0,
    memory: str = "",
) -> None:
    """Reads one domain's lists and members, writes where each query's positives stand in every ranking.

    What is scored last is what was shipped: `ranking` has to begin as the order that is scored.

    Args:
        multi_query_list: none, or the list of the images that are averaged for multiple queries.
        others: gallery lists of the other domains: positives in them can never be found, and are counted.
        other_queries: with `others`, all the images there are: a row of `truth` about any other is a mistake.
        multi_query: `Features` of `multi_query_list`, one file a member.
        heads: written, the first images of every ranking.
        truth: who is on each image (CSV: subset,name,pid,camid); none: the lists say it.
    """
    started = time.monotonic()
    rule = protocols.named(protocol)
    lists = ImageList.read(query_list), ImageList.read(gallery_list)
    labels = labelled.read(lists, others, other_queries, multi_query_list, truth)
    about = _about(rule, lists, labels, f"{query_list}, {gallery_list}")
    files = members.Files(query, gallery, jaccard)
    inputs = [query_list, gallery_list, *multi_query_list, *others, *other_queries, *files.all, *multi_query]
    named = members.names(models, ensemble)
    members.require_one_each("evaluate", named, files)
    settings = {"rerank": rerank, "ensemble": ensemble, "fuse": fuse, "seed": seed, "protocol": protocol}
    settings["weights"] = {name: model.weight for name, model in models.items()}
    made_by = MadeBy.of("evaluate", REVISION, settings, [*inputs, ranking, *truth])
    device = vectors.choose(device)
    read = members.read(models, ensemble, files, made_by, lists=lists, device=device)
    scoring = _Scoring(rerank, fuse, Evaluation(rule, labels.query, labels.gallery, seed),
                       device, threads, budget(memory, device))  # fmt: skip
    entries, first = scoring.entries(named, read.members, ranking)
    _tell(entries[-2:])
    Heads(**first, **_listed(lists, labels), made_by=made_by).write(heads)
    if multi_query:
        entries += scoring.multiple(named, read.members, multi_query, labels)
    write_json(scores, "Scores", made_by, about | {"draws": scoring.evaluation.draws, "entries": entries})
    _log.info("evaluate: wrote %s in %.1f s", scores, time.monotonic() - started)


def _about(
    rule: protocols.Protocol, lists: tuple[ImageList, ImageList], labels: labelled.Lists, of: str
) -> dict[str, Any]:
    """What is scored: the queries, the rule, and positives in galleries that they are not ranked against.

    Raises:
        ReidError: no query has a positive anywhere; `of` is what the message calls them.
    """
    elsewhere = protocols.count_of(labels.query, labels.others)
    if not elsewhere.any():
        protocols.require_positives(rule, labels.query, labels.gallery, of)
    _log.info("evaluate: by %s, %d queries, %d gallery images", rule.name, *map(len, lists))
    return {
        "names": lists[0].paths,
        "persons": labels.queried,
        "queries": len(lists[0]),
        "gallery": len(lists[1]),
        "protocol": rule.name,
        "rules": rule.rules,
        "elsewhere": elsewhere.tolist(),
    }


def _listed(lists: tuple[ImageList, ImageList], labels: labelled.Lists) -> dict[str, Any]:
    """The images and who is on them, as `Heads` takes them."""
    paths = {"queries": lists[0].paths, "gallery": lists[1].paths}
    return paths | {"queried": tuple(labels.queried), "shown": tuple(labels.shown)}


def _tell(entries: Sequence[dict[str, Any]]) -> None:
    for entry in entries:
        told = (f"{name} {100 * entry['scores'][name]:.1f}" for name in ("R1", "mAP", "mINP"))
        _log.info("evaluate: fusion %s: %s", scored.distance(entry), ", ".join(told))


class _Scoring:
    """How one domain's rankings are scored."""

    def __init__(
        self, rerank: Rerank, fuse: Fuse, evaluation: Evaluation, device: str, threads: int, memory: int
    ):
        self.rerank, self.fuse, self.evaluation = rerank, fuse, evaluation
        self.speed: dict[str, Any] = {"device": device, "threads": threads, "memory": memory}

    def multiple(
        self,
        named: list[members.Name],
        single: Sequence[Member],
        multi_query: Sequence[Path],
        labels: labelled.Lists,
    ) -> list[dict[str, Any]]:
        """As `entries`, by multiple queries: their features averaged, and re-ranked anew."""
        made, kept = [], 0
        for member, path in zip(single, multi_query, strict=True):
            more = Features.read(path).values
            if len(more) != len(labels.multi_query):
                raise ReidError(
                    f"{path}: {len(more)} features of {len(labels.multi_query)} images: extract again"
                )
            union = member.vectors.union
            query, kept = protocols.averaged(union.query, labels.query, more, labels.multi_query)
            how, regions = members.reranking(self.rerank), union.regions
            rows = how.of_features(query, union.gallery, regions=regions, **self.speed)
            place = self.speed["device"]
            made.append(Member(query, union.gallery, rows, member.weight, place, regions=regions))
        _log.info("evaluate: multiple queries: %d of %d have none and stay single", kept, len(labels.query))
        return [entry | {"multiple": True} for entry in self.entries(named, made, None)[0]]

    def entries(
        self, named: list[members.Name], single: Sequence[Member], shipped: Path | None
    ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Of each member plain and re-ranked, then of the fusion: scores, and hits where one trial is all.

        Beside them the heads of these rankings, as `Heads` takes them.
        """
        mixes = (PLAIN, members.reranking(self.rerank).mix)
        fused = single
        if self.fuse.of == "features" and single[0].vectors.num_query and single[0].vectors.num_gallery:
            fused = [members.side_by_side(single, self.rerank, **self.speed)]
        expected = Ranking.read(shipped) if shipped else None
        threads = self.speed["threads"]
        alone = _Judge(self.evaluation)
        both = [_Judge(self.evaluation, fused, mix, threads) for mix in mixes]
        num_query, num_gallery = single[0].vectors.num_query, single[0].vectors.num_gallery

        def of_block(start: int, stop: int) -> list[_Judged]:
            shape = stop - start, num_gallery
            sums = [torch.zeros(shape, device=self.speed["device"]) for _ in mixes]
            found = []
            for member in single:
                parts = [torch.zeros_like(total) for total in sums]
                member.add(parts, mixes, start)
                if fused is single:
                    for total, part in zip(sums, parts, strict=True):
                        total += part
                found += [alone.of_block(part, start) for part in parts]
            for member in fused if fused is not single else ():
                member.add(sums, mixes, start)
            if expected is not None:
                _as_shipped(expected, shipped, fused, mixes[1], sums[1], start)
            return found + [judge.of_block(total, start) for judge, total in zip(both, sums, strict=True)]

        # Last bits of a product depend on its shape: blocks depend on the gallery, not on what is free.
        block = nearest_of.block_length(num_gallery, 1 << 28, threads=1, arrays=4)
        blocks = list(distances.each_block(of_block, num_query, threads=threads, block=block, watch=_watch))
        rows = [(name, reranked) for name in [*map(str, named), FUSION] for reranked in (False, True)]
        made = []
        for number, (name, reranked) in enumerate(rows):
            entry = self._entry([parts[number].hits for parts in blocks])
            if name == FUSION:
                entry["scores"] |= both[reranked].rates()
                entry |= both[reranked].told()
            made.append({"member": name, "reranked": reranked} | entry)
        return made, _heads(rows, blocks)

    def _entry(self, trials: Sequence[list[Hits]]) -> dict[str, Any]:
        """The scores, and what each query adds to them: its hits or, with several trials, their sums."""
        scores = self.evaluation.score(trials)
        if self.evaluation.single:
            hits = Hits.joined([parts[0] for parts in trials]) if trials else Hits.empty()
            return {"scores": scores, "hits": _plain(hits)}
        own = self.evaluation.each(trials)
        return {
            "scores": scores,
            "each": {key: own[key].tolist() for key in ("counted", "R1", "mAP", "mINP")},
        }


class _Judged(NamedTuple):
    """What a block of a ranking is found to be."""

    hits: list[Hits]
    """Of every trial."""
    head: Head


class _Judge:
    """Judges a ranking block by block; with `fused`, gathers how far apart pairs are, too.

    That asks for the whole gallery, for the ROC also for not too many pairs.
    """

    def __init__(
        self, evaluation: Evaluation, fused: Sequence[Member] = (), mix: Mix = PLAIN, threads: int = 0
    ):
        self.evaluation = evaluation
        self.histogram = self.roc = None
        if not fused or not evaluation.whole:
            return
        self.histogram = Histogram(mix.top * sum(member.weight for member in fused))
        pairs = evaluation.pairs
        if evaluation.rated and len(pairs.positives):
            same = distances.measured_pairs(fused, mix, pairs.positives, pairs.begin, threads=threads)
            self.roc = Roc(same, evaluation.num_different)

    def of_block(self, total: torch.Tensor, start: int) -> _Judged:
        """The queries `start` … by their distances [B, G], which are changed."""
        block = total.cpu().numpy()
        head = self.evaluation.head(block, start, HEAD if self.evaluation.whole else 0)
        return _Judged(self.evaluation.hits(block, start, self.roc, self.histogram), head)

    def rates(self) -> dict[str, float]:
        """True-positive rates."""
        return self.roc.rates() if self.roc else {}

    def told(self) -> dict[str, Any]:
        """How far apart pairs of one person and of two are, and where their thresholds lie."""
        found: dict[str, Any] = {}
        if self.histogram:
            same, different = self.histogram.same.tolist(), self.histogram.different.tolist()
            found["histogram"] = {"top": self.histogram.top, "same": same, "different": different}
        if self.roc:
            limits = zip(RATES, self.roc.limits(), strict=True)
            found["limits"] = {f"{rate:g}": limit for rate, limit in limits if np.isfinite(limit)}
        return found


def _heads(rankings: Sequence[tuple[str, bool]], blocks: Sequence[Sequence[_Judged]]) -> dict[str, Any]:
    """The heads of rankings (member, re-ranked), as `Heads` takes them, from their blocks of queries."""
    joined = [
        [np.concatenate(parts) for parts in zip(*(judged.head for judged in of_one), strict=True)]
        for of_one in zip(*blocks, strict=True)
    ]
    empty = [np.zeros((len(rankings), 0, 0), kind) for kind in (np.int32, np.float32, np.int8)]
    arrays = [np.stack(parts) for parts in zip(*joined, strict=True)] if joined else empty
    names, reranked = zip(*rankings, strict=True)
    return {
        "members": names,
        "reranked": np.array(reranked, np.bool_),
        **dict(zip(Head._fields, arrays, strict=True)),
    }


def _as_shipped(
    expected: Ranking, path: Path | None, fused: Sequence[Member], mix: Mix, total: torch.Tensor, start: int
) -> None:
    """Put the best of a block in the order in which they were shipped, which is the canonical one.

    Raises:
        ReidError: the ranking file has another order.
    """
    best, near = nearest_of.of_block(fused, mix, total, start, expected.indices.shape[1])
    given = expected.indices[start : start + len(best)]
    wrong = np.flatnonzero((best != given).any(axis=1)) if given.shape == best.shape else np.zeros(1, int)
    if len(wrong):
        raise ReidError(
            f"{path}: does not rank query {start + int(wrong[0])} (from 0) as these features and settings "
            "do: it was made from others; delete it and run fuse again"
        )
    if best.size:
        canonical = torch.from_numpy(near).to(total.device)
        last = torch.nextafter(canonical[:, -1:], torch.tensor(torch.inf, device=total.device))
        torch.maximum(total, last, out=total)  # whoever was not among the best comes after them
        total.scatter_(1, torch.from_numpy(best).long().to(total.device), canonical)


def _watch(steps: Iterator[Any], total: int) -> Iterator[Any]:
    return shown(steps, "evaluate: blocks of queries", total)


def _plain(found: Hits) -> dict[str, list[float]]:
    return {name: values.tolist() for name, values in asdict(found).items()}
