"""What the documents name is there: files, links, commands and settings."""

import argparse
import re
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

from naic_reid import cli, config, stages, tools
from tests.walk import HOME

PAGES = [
    *(HOME / name for name in ("README.md", "CHANGELOG.md", "benchmarks/README.md")),
    *sorted((HOME / "docs").rglob("*.md")),
]
FOLDERS = {path.name for home in (HOME, HOME / "naic_reid") for path in home.iterdir() if path.is_dir()}


@pytest.fixture(params=PAGES, ids=lambda page: str(page.relative_to(HOME)))
def page(request: pytest.FixtureRequest) -> Path:
    return request.param


def spans(page: Path) -> list[str]:
    """What stands between backquotes, whole blocks too."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return blocks + re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))


def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    own = [link.partition("#")[0] for link in links if "://" not in link]
    assert [link for link in own if not (page.parent / link).exists()] == []


def test_the_index_of_the_log_names_every_theme() -> None:
    index = (HOME / "docs" / "log" / "README.md").read_text(encoding="utf-8")
    themes = {path.name for path in (HOME / "docs" / "log").glob("*.md")} - {"README.md"}
    assert set(re.findall(r"\]\((\S+)\)", index)) == themes


def test_named_files_are_there(page: Path) -> None:
    """Of the project's own folders; `results/` and the like are made by a run."""
    made = {"results", "logs", "scratch", "data"}
    elsewhere = {
        "naic_reid/share/",
        "naic_reid/losses/spread.py",
    }  # in a wheel; written by who follows the tutorial
    named = [span for span in spans(page) if re.fullmatch(r"[\w./*-]+/[\w./*-]*", span)]
    missing = [
        name
        for name in named
        if name.split("/")[0] in FOLDERS - made
        and not any(list(home.glob(name)) for home in (HOME, HOME / "naic_reid"))
    ]
    assert set(missing) <= elsewhere


def test_named_commands_and_their_options_are_there(page: Path) -> None:
    calls = [
        (called[1], re.split(r" (?:--|#|\|) ", called[2])[0])
        for span in spans(page)
        for called in re.finditer(r"naic-reid ([a-z]\w+)(.*)", span)
    ]
    assert [name for name, _ in calls if name not in {*stages.STAGES, *tools.TOOLS}] == []
    unknown = {
        (name, option)
        for name, words in calls
        for option in re.findall(r"(?<!\S)--[a-z][\w-]*", words)
        if option not in options_of(name)
    }
    assert unknown == set()


@cache
def options_of(name: str) -> set[str]:
    if name == "rerank":  # of two files of features
        name = "rank"
    parser = argparse.ArgumentParser()
    if name in stages.STAGES:
        parser = cli._stage_parser(name, stages.signature(name))
    else:
        import_module(f"naic_reid.tools.{name}").arguments(parser)
    return {option for action in parser._actions for option in action.option_strings}


def test_named_settings_are_there(page: Path) -> None:
    """`section.key`, alone or before a colon; a model's name, a domain's or a source's is whatever it is."""
    sections = {path[0] for path in settings()} - {"tests"}  # which is a package, too
    unknown = []
    for span in spans(page):
        for name in re.findall(r"(?:^|\s)((?:[a-z_]\w*)(?:\.(?:\w+|\*|<\w+>)(?:\[\])?)+)(?=$|:|\s)", span):
            way = name.replace("[]", ".*").split(".")
            if way[0] in sections and "." + way[-1] not in ENDINGS and not known(way):
                unknown.append(name)
    assert unknown == []


ENDINGS = {".py", ".smk", ".yaml", ".tsv", ".csv", ".npz", ".json", ".log", ".run", ".html", ".txt", ".mat"}


def known(way: list[str]) -> bool:
    """Whether a setting has this way from the top; what a model's recipe takes is what `train` takes."""
    if len(way) > 3 and way[0] == "models" and way[2] == "recipe":
        way = ["train", *way[3:]]
    return any(
        len(path) == len(way) and all(own in ("*", part) for own, part in zip(path, way, strict=True))
        for path in settings()
    )


@cache
def settings() -> set[tuple[str, ...]]:
    """Every setting that `--describe-config` tells of, by its way from the top; *: any name."""
    found, way = set(), [""]
    for line in config.describe().splitlines():
        told = re.match(r"( *)(\(each entry\)|\w+)", line)
        assert told, line
        way[len(told[1]) // 2 :] = ["*" if told[2].startswith("(") else told[2]]
        found.add(tuple(way))
    return found
