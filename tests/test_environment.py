"""The three places that name dependencies agree: pyproject.toml, requirements.lock, environment.yml."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

HOME = Path(__file__).parent.parent
CONDA_NAMES = {
    "torch": "pytorch",
    "opencv-python-headless": "py-opencv",
    "matplotlib": "matplotlib-base",
    "snakemake": "snakemake-minimal",
}


@pytest.fixture(scope="module")
def lock() -> dict[str, list[str]]:
    pins: dict[str, list[str]] = {}
    for name, version in re.findall(
        r"^([A-Za-z0-9_.-]+)==([^ \\]+)", (HOME / "requirements.lock").read_text(), re.M
    ):
        pins.setdefault(canonicalize_name(name), []).append(version)
    return pins


@pytest.fixture(scope="module")
def wanted() -> list[Requirement]:
    """What the whole project runs with: the dependencies, and the extras of `all` and of faiss."""
    extras = project()["optional-dependencies"]
    (everything,) = [Requirement(line) for line in extras["all"]]
    lines = [line for extra in (*sorted(everything.extras), "faiss") for line in extras[extra]]
    return [Requirement(line) for line in [*project()["dependencies"], *lines]]


def project() -> dict[str, Any]:
    return tomllib.loads((HOME / "pyproject.toml").read_text())["project"]


def test_the_lock_file_pins_every_dependency_within_its_range(lock, wanted) -> None:
    extras = project()["optional-dependencies"]
    del (
        extras["faiss-gpu"],
        extras["all"],
    )  # the one would take the place of faiss-cpu, the other names extras
    for requirement in [*wanted, *(Requirement(line) for lines in extras.values() for line in lines)]:
        for version in lock[canonicalize_name(requirement.name)]:
            assert version in requirement.specifier, requirement


def test_the_lock_file_has_hashes_and_no_addresses() -> None:
    text = (HOME / "requirements.lock").read_text()
    assert text.count("--hash=sha256:") > 1000
    assert "://" not in text
    for entry in re.split(r"\n(?=[A-Za-z0-9])", text.strip()):
        assert "--hash=sha256:" in entry, entry


def test_the_conda_environment_names_the_same_versions(lock, wanted) -> None:
    entries = yaml.safe_load((HOME / "environment.yml").read_text())["dependencies"]
    conda = {name: spec for name, _, spec in (entry.partition(" ") for entry in entries)}
    for requirement in wanted:
        name = CONDA_NAMES.get(requirement.name, requirement.name)
        spec = conda[name]
        allowed = SpecifierSet(f"=={spec[1:]}.*" if spec.startswith("=") else spec)
        for version in lock[canonicalize_name(requirement.name)]:
            assert version in allowed, (name, spec, version)


def test_the_conda_environment_has_nothing_that_the_project_does_not_ask_for(wanted) -> None:
    entries = yaml.safe_load((HOME / "environment.yml").read_text())["dependencies"]
    asked = {CONDA_NAMES.get(requirement.name, requirement.name) for requirement in wanted}
    assert {entry.split(" ")[0] for entry in entries} - asked == {"python", "pip", "hatchling"}
