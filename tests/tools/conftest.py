"""What several commands are tested with."""

from pathlib import Path

import pytest

from tests.tools import house


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """model.pt, and photos/ of two persons, two of each."""
    folder = tmp_path_factory.mktemp("place")
    house.model(folder / "model.pt")
    house.photos(folder / "photos", persons=2, images=2)
    return folder
