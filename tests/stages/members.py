"""Members of a small ensemble with everything the retrieval stages read, for tests of those stages."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from naic_reid.artifacts import Features, ImageList
from naic_reid.config import Ensemble, Fuse, Model, Rerank, Search
from naic_reid.stages import evaluate, fuse, rerank, search

PERSONS, DIMENSION = 12, 16
MODELS = {
    "a": Model(backbone="resnet18", height=64, width=32),
    "b": Model(backbone="resnet18", height=64, width=32, weight=2.0),
}
ENSEMBLE = Ensemble(epochs=(1, 2))
NAMES = [f"{model}{epoch}" for model in MODELS for epoch in ENSEMBLE.epochs]


@dataclass(frozen=True)
class World:
    """A folder of lists, features and the truth about them."""

    folder: Path
    settings: Rerank
    domains: tuple[str, ...]

    def paths(self, kind: str, domain: str) -> list[Path]:
        """One file for each member, in the order of members."""
        return [self.folder / f"{name}_{kind}_{domain}.npz" for name in NAMES]

    def images(self, role: str, domain: str) -> Path:
        return self.folder / f"{role}_{domain}.tsv"

    @property
    def truth(self) -> Path:
        return self.folder / "truth.csv"

    def rerank_all(self, domain: str) -> None:
        """Search and rerank of each member."""
        for query, gallery, near, jaccard in zip(
            *(self.paths(kind, domain) for kind in ("query", "gallery", "near", "jaccard")), strict=True
        ):
            search.run(Search(), query=query, gallery=gallery, neighbours=near)
            rerank.run(self.settings, neighbours=near, query=query, gallery=gallery, jaccard=jaccard)

    def fuse(self, domain: str, fused: Fuse | None = None) -> Path:
        ranking = self.folder / f"ranking_{domain}.npz"
        files = {kind: self.paths(kind, domain) for kind in ("query", "gallery", "jaccard")}
        fuse.run(self.settings, MODELS, ENSEMBLE, fused or Fuse(), **files, ranking=ranking)
        return ranking

    def evaluate(
        self,
        domain: str,
        *,
        truth: bool = True,
        fused: Fuse | None = None,
        protocol: str = "naic",
        multiple: bool = False,
        ranking: Path | None = None,
    ) -> Path:
        scores = self.folder / f"{domain}.json"
        others = [other for other in self.domains if other != domain]
        evaluate.run(
            self.settings,
            MODELS,
            ENSEMBLE,
            fused or Fuse(),
            seed=3,
            protocol=protocol,
            query_list=self.images("query", domain),
            gallery_list=self.images("gallery", domain),
            multi_query_list=[self.images("multi_query", domain)] if multiple else [],
            others=[self.images("gallery", other) for other in others],
            other_queries=[self.images("query", other) for other in others],
            query=self.paths("query", domain),
            gallery=self.paths("gallery", domain),
            multi_query=self.paths("multi_query", domain) if multiple else [],
            jaccard=self.paths("jaccard", domain),
            ranking=self.fuse(domain, fused) if ranking is None else ranking,
            truth=[self.truth] if truth else [],
            scores=scores,
            heads=self.folder / f"{domain}_heads.npz",
        )
        return scores


def world(folder: Path, sizes: dict[str, tuple[int, int]], *, labelled: bool = False) -> World:
    """Lists and features of domains with so many query and gallery images, persons taking turns."""
    rng = np.random.default_rng(0)
    persons = rng.normal(size=(PERSONS, DIMENSION))
    truth = ["subset,name,pid,camid"]
    for domain, counts in sizes.items():
        for role, num in zip(("query", "gallery"), counts, strict=True):
            shown = np.arange(num) % PERSONS
            names = tuple(f"{domain}_{role}_{image:03}.png" for image in range(num))
            truth += [f"{role},{name},{person},1" for name, person in zip(names, shown, strict=True)]
            labels = tuple(f"set/{person}" if labelled else "" for person in shown)
            paths = tuple(f"test/{role}/{name}" for name in names)
            ImageList(paths, labels).write(folder / f"{role}_{domain}.tsv")
            for member in NAMES:
                rows = persons[shown] + 0.8 * rng.normal(size=(num, DIMENSION))
                rows /= np.linalg.norm(rows, axis=1, keepdims=True)
                Features(names, rows.astype(np.float32)).write(folder / f"{member}_{role}_{domain}.npz")
    made = World(folder, Rerank(k1=10, k2=3, lambda_=0.3), tuple(sizes))
    made.truth.write_text("\n".join(truth) + "\n")
    return made
