"""The stage `cut`: whose images are cut, and that a draw is the rule's for the test and the image's name."""

from pathlib import Path

import pytest

from naic_reid.artifacts import ImageList
from naic_reid.config import Cut
from naic_reid.data import images
from naic_reid.data.crops import Rule
from naic_reid.stages import cut
from tests.tools import house


@pytest.mark.parametrize("roles", ["query", "both"])
def test_queries_alone_or_all_are_cut_as_the_rule_draws(tmp_path: Path, roles: str) -> None:
    names = house.photos(tmp_path / "data", persons=2, images=2)
    lists = {}
    for role, at in (("query", slice(0, None, 2)), ("gallery", slice(1, None, 2))):
        lists[role] = tmp_path / f"{role}.tsv"
        ImageList(tuple(names[at]), ("a/1", "a/2"), cameras=("1", "2")).write(lists[role])
    how = Cut(of="market", side="both", keep=(0.3, 0.6), roles=roles)
    made = {role: tmp_path / f"cut_{role}.tsv" for role in lists}
    cut.run(
        7, how, data=tmp_path / "data", query=lists["query"], gallery=lists["gallery"],
        cut_query=made["query"], cut_gallery=made["gallery"],
    )  # fmt: skip
    rule = Rule("both", (0.3, 0.6))
    for role, path in made.items():
        found, given = ImageList.read(path), ImageList.read(lists[role])
        assert (found.paths, found.identities, found.cameras) == (
            given.paths,
            given.identities,
            given.cameras,
        )
        sizes = [images.read(tmp_path / "data" / name).shape[:2] for name in found.paths]
        expected = [
            str(rule.drawn(*size, seed=7, test="market", image=name))
            for size, name in zip(sizes, found.paths, strict=True)
        ]
        assert list(found.crops) == (expected if role == "query" or roles == "both" else ["", ""])
