"""The pictures of what augmentation does are what training would be shown."""

import argparse
from pathlib import Path

import numpy as np
import pytest

from naic_reid import config
from naic_reid.data import images
from naic_reid.data.geometry import Geometry
from naic_reid.errors import ReidError
from naic_reid.pages.sections import Section
from naic_reid.tools import inspect, variations
from tests.labelled import small
from tests.tools import house

QUIET = {"flip": 0, "pad": 0, "brightness": 0, "contrast": 0, "saturation": 0, "hue": 0, "erasing": 0}


@pytest.fixture
def strips(tmp_path: Path, request: pytest.FixtureRequest) -> list[Section]:
    """Sections for a recipe that only does what the test asks for."""
    raw = small(
        [{"name": "m", "layout": "folders", "folder": "."}], {"t": {"layout": "folders", "folder": "t"}}
    )
    raw.setdefault("train", {})["augment"] = QUIET
    for model in raw["models"].values():
        model["recipe"] = {"augment": QUIET | request.param}
    settings = config.Config.model_validate(raw)
    return variations.sections(settings, tmp_path, house.photos(tmp_path, 3))


@pytest.mark.parametrize("strips", [{"flip": 1}], indirect=True)
def test_versions_of_a_recipe_that_mirrors_are_mirrored(strips: list[Section], tmp_path: Path) -> None:
    [section] = strips
    assert section.rows == [("flip", "1.0")]
    assert len(section.strips) == variations.IMAGES
    for first, *versions in section.strips:
        expected = Geometry(32, 16).fitted(images.read(tmp_path / first.caption))
        assert np.array_equal(first.image, expected)
        assert len(versions) == variations.VERSIONS
        assert all(np.array_equal(one.image, expected[:, ::-1]) for one in versions)


@pytest.mark.parametrize("strips", [{"erasing": 1, "erasing_fill": "zero"}], indirect=True)
def test_what_is_erased_is_shown_as_the_network_meets_it(strips: list[Section]) -> None:
    grey = np.rint(255 * np.array((0.485, 0.456, 0.406)))
    changed = [
        (np.asarray(one.image) != np.asarray(first.image)).any(2)
        for first, *versions in strips[0].strips
        for one in versions
    ]
    shown = [np.asarray(one.image) for _, *versions in strips[0].strips for one in versions]
    assert all(0.01 < mask.mean() < 0.6 for mask in changed)
    assert all((pixels[mask] == grey).all() for pixels, mask in zip(shown, changed, strict=True))


def test_pictures_need_a_page() -> None:
    parser = argparse.ArgumentParser()
    inspect.arguments(parser)
    with pytest.raises(ReidError, match="--augment: its pictures need a page"):
        inspect.run(parser.parse_args(["--augment"]))
