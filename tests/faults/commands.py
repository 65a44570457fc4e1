"""Commands called with what they cannot use, and files that are no files."""

import contextlib
import os
import socket
from collections.abc import Callable

import numpy as np
import torch

from tests.faults.case import Case
from tests.faults.world import Command, World

QUERY = np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32)
GALLERY = np.random.default_rng(1).normal(size=(20, 8)).astype(np.float32)
FEATURES = "results/extract/large/epoch_1/query_green.npz"


def _pair(
    query: np.ndarray = QUERY, gallery: np.ndarray = GALLERY, more: bytes = b""
) -> Callable[[World], None]:
    def plant(world: World) -> None:
        for name, values in (("q.npy", query), ("g.npy", gallery)):
            np.save(world.path(name), values)
        with world.path("g.npy").open("ab") as handle:
            handle.write(more)

    return plant


def _linked(world: World) -> None:
    _pair()(world)
    world.path("link").symlink_to("nowhere/at/all")


def _fifo(name: str) -> Callable[[World], None]:
    def plant(world: World) -> None:
        _pair()(world)
        world.path(name).unlink(missing_ok=True)
        os.mkfifo(world.path(name))

    return plant


def _socket(world: World) -> None:
    world.path(FEATURES).unlink()
    # A socket's path has at most a hundred bytes, so it is named from beside it.
    with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(world.path(FEATURES).parent):
        server.bind(world.path(FEATURES).name)


def _folder(world: World) -> None:
    world.path(FEATURES).unlink()
    world.path(FEATURES).mkdir()


def _rank(*options: str) -> Callable[[World], list[Command]]:
    return lambda world: [["rank", "q.npy", "g.npy", "--indices", "o.npy", *options]]


def _into(place: str) -> Callable[[World], list[Command]]:
    return lambda world: [["rank", "q.npy", "g.npy", "--indices", place]]


def _search(*options: str) -> Callable[[World], list[Command]]:
    return lambda world: [[*world.command("search", "search/large", "green"), *options]]


def _with_row(value: float) -> np.ndarray:
    changed = GALLERY.copy()
    changed[3] = value
    return changed


def _case(
    name: str, plant: Callable[[World], None], run: Callable[[World], list[Command]], says: str
) -> Case:
    return Case("Commands", name, plant, run, says=says)


def _written(name: str, content: bytes) -> Callable[[World], None]:
    return lambda world: world.replace(name, content) and None


def _tensor(world: World) -> None:
    _photo(world)
    torch.save(torch.zeros(3), world.path("model.pt"))


def _scored(world: World) -> None:
    _pair()(world)
    for name, num in (("q.csv", len(QUERY)), ("g.csv", len(GALLERY))):
        world.replace(name, b"identity\n" + b"7\n" * num)


def _loop(name: str) -> Callable[[World], None]:
    def plant(world: World) -> None:
        _photo(world)
        world.path(name).symlink_to(name)

    return plant


def _photo(world: World) -> None:
    world.replace("photos/a.png", b"a photograph")


def _call(text: str) -> Callable[[World], list[Command]]:
    return lambda world: [text.split(" ")]


SCORE = "score q.npy g.npy --query-list q.csv --gallery-list g.csv"
CASES = [
    _case("rank into a folder", _pair(), _into("."), r"\.: is a folder; name a file in it"),
    _case("rank through a link that leads nowhere", _linked, _into("link/o.npy"),
          "o.npy: cannot be written: link is a symbolic link that leads nowhere"),
    _case("rank with -1 threads", _pair(), _rank("--threads", "-1"), "--threads must be at least 0"),
    _case("rank on a device that there is not", _pair(), _rank("--device", "cuda:99"),
          "--device: there is no such device here"),
    _case("rank on what is no device", _pair(), _rank("--device", "foo"), "no such device here"),
    _case("a row of features of 1e-44", _pair(gallery=_with_row(1e-44)), _rank(),
          "the row of gallery 3 .from 0. is zero, all but zero or not finite"),
    _case("a row of nan", _pair(gallery=_with_row(np.nan)), _rank(), "gallery 3 .* not finite"),
    _case("bytes behind an array", _pair(more=b"xx"), _rank(), "g.npy: 2 bytes stand behind its array"),
    _case("a named pipe for an array", _fifo("g.npy"), _rank(), "g.npy: is a named pipe"),
    _case("a named pipe for features", _fifo(FEATURES), _search(),
          "query_green.npz: is a named pipe; a regular file belongs here"),
    _case("a socket for features", _socket, _search(), "query_green.npz: is a socket"),
    _case("a folder for features", _folder, _search(),
          "query_green.npz: is a folder"),
    _case("rank into a named pipe", _fifo("i.npy"), _into("i.npy"), "i.npy: is a named pipe; name a file"),
    _case("rank into a name of 300 letters", _pair(), _into("x" * 300), "File name too long"),
    _case("score over one of its lists", _scored, _call(f"{SCORE} --json q.csv"),
          "q.csv: is read by this command, and would be overwritten"),
    _case("score with -3 threads", _scored, _call(f"{SCORE} --threads -3"), "--threads must be at least 0"),
    _case("a model that is a single tensor", _tensor, _call("embed model.pt photos --npy o.npy"),
          "model.pt: not a whole Checkpoint file: it holds a Tensor"),
    _case("a model that is a circle of links", _loop("model.pt"), _call("embed model.pt photos --npy o.npy"),
          "model.pt: cannot be read: Too many levels of symbolic links"),
    _case("a list of images with a zero byte", _written("list.txt", b"a\0b.png\n"),
          _call("embed model.pt list.txt --npy o.npy"), "list.txt: .*no file can be called so"),
    _case("features written over a photograph", _photo, _call("embed model.pt photos --npy photos/a.png"),
          "photos/a.png: is an image that this command reads"),
    _case("a submission nested 100,000 deep", _written("deep.json", b"[" * 100_000), _call("check deep.json"),
          "deep.json: not a submission: its values are nested too deep"),
    _case("a memory of images that is somebody's notes", _written("notes.txt", b"hours of work"),
          lambda world: [[*world.command("collect"), "--cache", "notes.txt"]],
          "notes.txt: is no memory of images, and would be overwritten"),
    _case("drawn images into a folder of photographs", _photo,
          lambda world: [[*world.command("toy"), "--folder", "photos"]], "photos: is there, and not empty"),
    _case("a run on no processor", lambda world: None, _call("run --cores 0"), "--cores: '0' is neither"),
    _case("a run in a circle of links", _loop("there"), _call("run --into there"), "there cannot be written"),
    _case("a binary config to be shown", _written("c.yaml", bytes(range(128, 256))),
          _call("run --config c.yaml --show-config"), "c.yaml: cannot be read: 'utf-8' codec"),
]  # fmt: skip
