"""The one place where a picture becomes a feature: used by the stage `extract`, by programs and by tools.

    from naic_reid import Extractor

    extractor = Extractor.load("results/train/small/epoch_20.pt")   # or a folder that `save` wrote
    gallery = extractor.folder("photos/")                           # .names (N), .values float32 [N, D]
    mine = extractor.files(["asked/a.jpg", "asked/b.jpg"], on_error="skip")         # .skipped says why
    rows = extractor.images([frame, another])                       # uint8 [h, w, 3], RGB → float32 [2, D]
    rows = extractor.boxes(frame, detector(frame))                  # float [N, 4] → float32 [N, D]
    features = extractor(pixels)                                    # uint8 [B, H, W, 3] → float32 [B, D]
    extractor.save("model/")                                        # safetensors and JSON

**What a feature is**: the picture brought to the input's size (`geometry`), R, G, B with ImageNet's mean and
deviation removed, through the network to behind its bottleneck; with `flip`, plus the same of its mirror
image; with `scales`, plus the same of both at other sizes; scaled to length 1. So the cosine of two features
is their product, and 2 − 2·cos their squared distance. A network with visible regions (`regions: p`) gives
the regions' features times their masses, and last the p masses, of which `rank`, `score` and the stages make
its cosine (`Features.regions` tells them).

**What changes a feature**: the checkpoint, the words of `extract` in a config (`config.Extract` lists them),
and the device. What does not: whether the stage or a program asks, in which folder a file lies, how many
threads read. Which pictures share a batch, and so the order, the size of the batch and torch's threads,
change the last bits alone: by less than 1e-5 in each number with fp32, by less than 1e-2 with bf16. The
same pictures in the same order, batches and threads give the same bits.
"""

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from naic_reid import machine
from naic_reid import precision as precisions
from naic_reid.architecture import Architecture, reason
from naic_reid.artifacts import Features, Floats, MadeBy, canonical
from naic_reid.config import Channels, Extract, typed
from naic_reid.data import augment, folders, images, pictures
from naic_reid.data.geometry import Geometry, scaled, scaled_size
from naic_reid.errors import ReidError
from naic_reid.models import borders, fastreid, portable, require_any_size, torchreid
from naic_reid.models.branches import Seen, summed
from naic_reid.models.dimension import reduced
from naic_reid.models.embedder import Embedder
from naic_reid.models.inference import fused, halved
from naic_reid.models.ratio import taps
from naic_reid.models.scaled_conv import LEAST, MOST
from naic_reid.models.sight import Sight
from naic_reid.models.weights import Checkpoint, loaded
from naic_reid.progress import shown

BATCHES = {"cpu": 16, "cuda": 256}
"""Pictures that go through the network together: on a CPU what passes between layers should stay in the
cache; a GPU wants to be filled."""

OnError = Literal["raise", "skip"]
_Source = TypeVar("_Source")

_log = logging.getLogger(__name__)


class Block(NamedTuple):
    """Features of some consecutive sources, as they come."""

    values: Floats
    """float32 [B, D]."""
    rows: list[int]
    """Which source each row is of."""
    faults: list[tuple[int, ReidError]]
    """Sources that could not be read, and why."""


@dataclass(frozen=True)
class Extracted(Features):
    """Features of files, and which files gave none."""

    skipped: tuple[tuple[str, str], ...] = ()
    """(name, what is wrong with it), where `on_error` is "skip"."""


class Extractor(nn.Module):
    """Pictures uint8 [B, H, W, 3] → unit features float32 [B, D]; see the module's docstring.

    Always in evaluation mode, its parameters fixed. The network is a copy of the checkpoint's with batch
    normalisations folded into convolutions, channels last, halved for bf16 and fp16.
    """

    def __init__(self, checkpoint: Checkpoint, *, device: str = "auto", **words: Any) -> None:
        """Of a trained network.

        Args:
            checkpoint: its weights and what they are weights of; classes are not needed.
            device: auto (a GPU where there is one), cpu, cuda or cuda:N.
            words: of the section `extract` of a config, such as precision, flip, geometry.

        Raises:
            ReidError: no such device or word, a wrong value, or weights that are not the network's.
        """
        super().__init__()
        self.how: Extract = typed({"extract": Extract}, {"extract": words}, "Extractor")["extract"]
        """How features are taken, beside the network: a folder that `save` writes keeps it."""
        place = chosen(device)
        self.checkpoint = replace(checkpoint, classifier={}, identities=())
        """What `save` writes: the weights as they were trained, on the CPU, without classes."""
        seen = _resized(checkpoint, "size", self.how.size)
        _require_scales(seen, self.how.scales)
        height, width = seen.architecture.height, seen.architecture.width
        align = 16 * (seen.architecture.last_stride or 1) if self.how.border == "masked" else 1
        if height % align or width % align:
            raise ReidError(f"extract.border masked: {height} × {width} must be multiples of {align}")
        self.geometry = Geometry(
            height, width, seen.architecture.resize, self.how.geometry, self.how.widen, align
        )
        self.network, self._sight = _prepared(seen, self.how, place)
        self._masks = self.how.border == "masked"
        if self.how.scale == "predicted":
            _require_ratio(checkpoint)
        elif self._sight and self.how.scale:
            self._sight.scale = _scale(self.how, checkpoint.architecture)
        self.dimension = _dimension(self.network, self.how.channels)
        """D, of a feature."""
        self.regions = self.network.regions
        """How many of these numbers, the last, are masses of visible regions (`Features.regions`)."""
        if self.geometry.policy == "pad":
            _require_no_statistics(self.network, seen.architecture)
        self.eval().requires_grad_(False)

    @classmethod
    def load(
        cls,
        path: str | Path,
        device: str = "auto",
        precision: str | None = None,
        flip: bool | None = None,
        **words: Any,
    ) -> Self:
        """From a checkpoint of ours, FastReID or torchreid, or a folder that `save` wrote; runs no code.

        Args:
            path: the file or folder. Of torchreid: its OSNets, with `fc`.
            device: auto (a GPU where there is one), cpu, cuda or cuda:N.
            precision: fp32, tf32, bf16 or fp16; None: what the folder says, else fp32.
            flip: add the mirror image's feature; None: what the folder says, else yes (others' files: no).
            words: further ones of the section `extract` of a config, such as geometry="crop", widen=1.5,
                size=(256, 128); None, or not given: what the folder says, else the config's default.

        Raises:
            ReidError: the file is none of these, or damaged; no such device or word, or a wrong value.
        """
        checkpoint, options = _loaded(Path(path))
        if unknown := options.keys() - Extract.model_fields.keys():
            raise ReidError(
                f"{path}: names {min(unknown)}, which this version does not know: use a newer one"
            )
        given = {"precision": precision, "flip": flip, **words}
        options |= {name: value for name, value in given.items() if value is not None}
        return cls(checkpoint, device=device, **options)

    def save(self, folder: str | Path) -> None:
        """Write a folder that `load` reads: weights as safetensors, and JSON that says what they are.

        Equal content gives equal bytes. What `load` gives has the same features to the bit.

        Raises:
            ReidError: something else is in the folder, which would be lost; or it cannot be written.
        """
        portable.write(Path(folder), self.checkpoint, self.options)

    @property
    def options(self) -> dict[str, Any]:
        """The words of `extract` as chosen; those that came later are left out where they are off."""
        return self.how.model_dump(mode="json")

    @property
    def precision(self) -> str:
        """fp32, tf32, bf16 or fp16; see `naic_reid.precision`."""
        return self.how.precision

    @property
    def flip(self) -> bool:
        """Whether the mirror image's feature is added."""
        return self.how.flip

    @property
    def device(self) -> torch.device:
        """Where the network is; pixels must be there too."""
        return next(self.network.parameters()).device

    def train(self, _mode: bool = True) -> Self:
        """Stays in evaluation mode: batch statistics have no place in a feature."""
        return super().train(False)

    def forward(self, pixels: Tensor, frames: Tensor | None = None) -> Tensor:
        """Features float32 [B, D] of length 1, of uint8 [B, H, W, 3], RGB, on the network's device.

        `frames`, int64 [B, 4] on any device, says where each picture lies (`Geometry.frame`); None: all fill
        their input.
        """
        if not len(pixels):
            return torch.empty(0, self.dimension, device=pixels.device)
        if frames is None or self.geometry.policy != "crop":
            return self._seen(pixels, None if frames is None else frames.to(pixels.device, non_blocking=True))
        values = torch.empty(len(pixels), self.dimension, device=pixels.device)
        rows_of: dict[tuple[int, int], list[int]] = {}
        for row, (_, _, height, width) in enumerate(frames.tolist()):
            rows_of.setdefault((height, width), []).append(row)
        for (height, width), rows in sorted(rows_of.items()):
            values[rows] = self._seen(pixels[rows, :height, :width])
        return values

    def compile(self, *args: Any, **words: Any) -> None:
        """Have torch.compile make the network faster from now on; its sums may round otherwise.

        The first batch of each size takes the compiler's time. Arguments are those of `torch.compile`.
        """
        self.network.compile(*args, **words)

    def _seen(self, pixels: Tensor, frames: Tensor | None = None) -> Tensor:
        """Features of pictures of one size; outside of frames inputs are blank."""
        inputs = augment.normalised(pixels, frames)
        if self._sight is not None:
            there = None if frames is None else augment.inside(frames, *inputs.shape[2:])[:, None]
            self._sight.inside = there.to(inputs.dtype) if there is not None and self._masks else None
        with precisions.forward(self.precision, pixels.device):
            if self._sight is not None and self.how.scale == "predicted" and self.network.ratio is not None:
                self._sight.scale = taps(self.network.ratio(inputs))
            seen = reduce(summed, map(self.network, self._views(inputs, frames)))
        return self._rows(seen)

    def _rows(self, seen: dict[str, Seen]) -> Tensor:
        """Of what the branches saw."""
        rows = self.network.unit(seen, self.how.stripes_weight)
        fewer = self.how.channels
        return rows if fewer is None else reduced(rows, fewer.keep, fewer.by)

    def _views(self, inputs: Tensor, frames: Tensor | None) -> Iterator[Tensor]:
        """What is summed up: inputs and their mirror images, at each scale."""
        for area in self.how.scales:
            yield scaled(inputs, area)
            if self.flip:
                yield scaled(augment.mirrored(inputs, frames), area)

    def folder(
        self, path: str | Path, *, on_error: OnError = "raise", batch: int = 0, workers: int = 0
    ) -> Extracted:
        """Features of all images in a folder and below, called by their path in it.

        In the order of these names; entries whose name begins with a dot are left out. The keyword
        arguments are those of `files`.

        Raises:
            ReidError: there is no such folder, or no image in it; or as `files`.
        """
        root = Path(path)
        names = folders.below(root)
        if not names:
            raise ReidError(f"{root}: no images ({', '.join(sorted(images.SUFFIXES))}) in this folder")
        return self._named(names, [root / name for name in names], on_error, batch, workers)

    def files(
        self,
        paths: Iterable[str | Path],
        *,
        on_error: OnError = "raise",
        batch: int = 0,
        workers: int = 0,
    ) -> Extracted:
        """Features of image files in their order, called by their paths as given.

        Args:
            paths: each once; PNG, JPEG, BMP, TIFF or WebP of any size, by content and not by name.
            on_error: raise the first file's error, or skip such files and say which in `.skipped`.
            batch: pictures that go through the network together; 0: what suits the device.
            workers: threads that read; 0: as many as there are processors.

        Raises:
            ReidError: a file is no usable image (unless these are skipped), or is named twice.
        """
        listed = [str(path) for path in paths]
        return self._named(listed, [Path(name) for name in listed], on_error, batch, workers)

    def images(self, arrays: Sequence[NDArray[np.uint8]], *, batch: int = 0, workers: int = 0) -> Floats:
        """Features float32 [N, D] of pictures in memory.

        Args:
            arrays: each uint8 [h, w, 3] of any size, in the order R, G, B (OpenCV reads B, G, R: give it
                `picture[..., ::-1]`).
            batch: as for `files`.
            workers: as for `files`.

        Raises:
            ReidError: an array is no such picture; the message tells its place.
        """
        for number, array in enumerate(arrays):
            pictures.require(array, f"picture {number}")
        return self._all(arrays, np.ascontiguousarray, batch=batch, workers=workers)

    def boxes(self, frame: NDArray[np.uint8], xyxy: ArrayLike, *, batch: int = 0) -> Floats:
        """Features float32 [N, D] of boxes in a frame, such as a detector gives; [0, D] for no boxes.

        Args:
            frame: uint8 [h, w, 3], RGB.
            xyxy: [N, 4] numbers (array, list or tensor): left, top, right, bottom in pixels, right and
                bottom outside. Boxes end at the frame's edges; a pixel covered in part is in.
            batch: as for `files`.

        Raises:
            ReidError: the frame is no picture; or a box is not finite, or empty within the frame.
        """
        pictures.require(frame, "the frame")
        if isinstance(xyxy, Tensor):
            xyxy = xyxy.detach().cpu().numpy()
        return self._all(pictures.cut(frame, np.asarray(xyxy)), np.ascontiguousarray, batch=batch)

    def blocks(
        self,
        sources: Sequence[_Source],
        read: Callable[[_Source], NDArray[np.uint8]],
        *,
        batch: int = 0,
        workers: int = 0,
    ) -> Iterator[Block]:
        """Features of all sources in order, a batch at a time: memory does not grow with their number.

        On a GPU, pictures are read into pinned memory and copied there while the batch before is computed,
        and features are copied back while the next is: the host never waits but for a finished batch.

        Args:
            sources: paths, or whatever `read` makes a picture uint8 [h, w, 3] of.
            read: called by several threads; may raise `ReidError`, which is then in `faults`.
            batch: as for `files`.
            workers: as for `files`.
        """
        if batch < 0 or workers < 0:
            raise ReidError(f"batch {batch}, workers {workers}: numbers from 0, which leaves the choice")
        device = self.device
        given = pictures.batches(
            sources, read, self.geometry, batch or BATCHES[device.type],
            workers=workers or machine.processors(), pinned=device.type == "cuda",
        )  # fmt: skip
        computed = self._overlapped(given) if device.type == "cuda" else self._one_by_one(given)
        for pixels, values in computed:
            yield Block(values.numpy(), pixels.rows, pixels.faults)

    def _one_by_one(self, given: Iterable[pictures.Batch]) -> Iterator[tuple[pictures.Batch, Tensor]]:
        for read in given:
            with torch.inference_mode():
                values = self(read.pixels, read.frames)
            yield read, values

    def _overlapped(self, given: Iterable[pictures.Batch]) -> Iterator[tuple[pictures.Batch, Tensor]]:
        """A batch is waited for when the next one is queued; pinned pixels are held until theirs is done."""
        computing, copying = torch.cuda.current_stream(self.device), torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        queued: deque[tuple[pictures.Batch, Tensor, torch.cuda.Event]] = deque()

        def finished() -> tuple[pictures.Batch, Tensor]:
            read, values, done = queued.popleft()
            done.synchronize()
            return read, values

        for read in given:
            with torch.cuda.stream(copying):
                pixels = read.pixels.to(self.device, non_blocking=True)
            computing.wait_stream(copying)
            pixels.record_stream(computing)
            with torch.inference_mode(), torch.cuda.stream(computing):
                values = self(pixels, read.frames).to("cpu", non_blocking=True)  # pinned: torch makes it so
            queued.append((read, values, computing.record_event()))
            if len(queued) > 1:
                yield finished()
        while queued:
            yield finished()

    def _named(
        self, names: Sequence[str], paths: Sequence[Path], on_error: OnError, batch: int, workers: int
    ) -> Extracted:
        if on_error not in ("raise", "skip"):
            raise ReidError(f'on_error {on_error!r}: "raise" or "skip"')
        if len(set(names)) < len(names):
            raise ReidError(f"{Counter(names).most_common(1)[0][0]}: named twice: give each file once")
        skipped: list[tuple[int, ReidError]] = []
        values = self._all(
            paths, images.read, batch=batch, workers=workers, skipped=skipped if on_error == "skip" else None
        )
        if skipped:
            _log.warning(
                "extract: skipped %d of %d files, the first: %s", len(skipped), len(names), skipped[0][1]
            )
        gone = {row for row, _ in skipped}
        kept = tuple(name for row, name in enumerate(names) if row not in gone)
        reasons = tuple((names[row], str(error)) for row, error in skipped)
        network = {"model": self.checkpoint.architecture.options, "epoch": self.checkpoint.epoch}
        settings = {"extract": self.options, **network}
        return Extracted(kept, values, MadeBy(settings=canonical(settings)), reasons, regions=self.regions)

    def _all(
        self,
        sources: Sequence[_Source],
        read: Callable[[_Source], NDArray[np.uint8]],
        *,
        batch: int = 0,
        workers: int = 0,
        skipped: list[tuple[int, ReidError]] | None = None,
    ) -> Floats:
        """Features [N, D], with a bar on long work; faults are raised, or put into `skipped`."""
        values = np.empty((len(sources), self.dimension), np.float32)
        at = 0

        def filled() -> Iterator[None]:
            nonlocal at
            for block in self.blocks(sources, read, batch=batch, workers=workers):
                if block.faults and skipped is None:
                    raise block.faults[0][1]
                (skipped if skipped is not None else []).extend(block.faults)
                values[at : at + len(block.values)] = block.values
                at += len(block.values)
                yield from (None for _ in range(len(block.values) + len(block.faults)))

        for _ in shown(filled(), "extract", len(sources)):
            pass
        return values[:at]


def chosen(device: str) -> torch.device:
    """The device of a name: auto, cpu, cuda or cuda:N.

    Raises:
        ReidError: there is no such device here.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise ReidError(f"device {device}: no such device; use auto, cpu, cuda or cuda:N") from error
    if place.type not in BATCHES:
        raise ReidError(f"device {device}: only a CPU or an NVIDIA GPU will do; use auto, cpu or cuda")
    if place.type == "cuda" and not torch.cuda.is_available():
        raise ReidError(f"device {device}: no usable GPU here; use auto or cpu")
    return place


def _resized(checkpoint: Checkpoint, word: str, size: tuple[int, int] | None) -> Checkpoint:
    """The network for inputs of another height and width, which a word of `extract` asks for."""
    if size is None:
        return checkpoint
    options = checkpoint.architecture.options | {"height": size[0], "width": size[1]}
    try:
        return replace(checkpoint, architecture=Architecture.model_validate(options))
    except ValueError as error:
        raise ReidError(f"extract.{word} {list(size)}: {reason(error)}") from error


def _require_scales(checkpoint: Checkpoint, areas: Sequence[float]) -> None:
    """Refuse scales that the network cannot take.

    Raises:
        ReidError: it is built for images of one size, or one of these would be too small or large.
    """
    others = [area for area in areas if area != 1]
    if others:
        require_any_size(checkpoint.architecture)
    for area in others:
        size = scaled_size(checkpoint.architecture.height, checkpoint.architecture.width, area)
        _resized(checkpoint, f"scales {area:g} of the input, which is", size)


def _require_no_statistics(network: Embedder, architecture: Architecture) -> None:
    """Refuse to pad what a network that normalises each image by itself sees.

    Raises:
        ReidError: the blank part would take part in the mean and deviation.
    """
    if architecture.standardise or any(isinstance(part, nn.InstanceNorm2d) for part in network.modules()):
        raise ReidError(
            f"extract.geometry: pad: {architecture.backbone} takes each image's own mean and deviation, and "
            "those of the blank part with it: use crop"
        )


def _prepared(checkpoint: Checkpoint, how: Extract, device: torch.device) -> tuple[Embedder, Sight | None]:
    """The embedder as it is quickest: folded, channels last, in the precision asked for, on the device.

    And, where layers look at it, how their images are shown.
    """
    quick, look = fused(checkpoint.embedder()), None
    if how.border != "zero" or how.scale:
        over_picture = how.pool_over == "picture"
        look = borders.prepared(quick, checkpoint.architecture, how.border, over_picture=over_picture)
    if (dtype := precisions.dtype(how.precision)) != torch.float32:
        quick = halved(quick, dtype)
    return quick.to(device).to(memory_format=torch.channels_last), look


def _dimension(network: Embedder, channels: Channels | None) -> int:
    """Of a feature of which so many numbers are kept."""
    dimension = network.dimension
    if channels is None:
        return dimension
    if network.regions:
        raise ReidError("extract.channels: features of visible regions keep all their numbers: leave it out")
    if dimension % channels.keep:
        raise ReidError(f"extract.channels.keep: {channels.keep} does not divide the feature's {dimension}")
    return channels.keep


def _require_ratio(checkpoint: Checkpoint) -> None:
    """Refuse to ask a network for ratios that tells none.

    Raises:
        ReidError: it does not.
    """
    if not checkpoint.architecture.ratio:
        raise ReidError(
            f"extract.scale predicted: {checkpoint.name} tells no ratio: set its model's, and train again"
        )


def _scale(how: Extract, trained: Architecture) -> Tensor:
    """How much larger than in training bodies appear, float32 [2]."""
    if not isinstance(how.scale, str):
        return torch.tensor(how.scale)
    assert how.size is not None
    found = how.size[0] / trained.height, how.size[1] / trained.width
    if not all(LEAST <= each <= MOST for each in found):
        raise ReidError(
            f"extract.scale: size {list(how.size)} is {found[0]:.3g} and {found[1]:.3g} times the size in "
            f"training, and taps are spread by {LEAST:g} … {MOST:g}"
        )
    return torch.tensor(found)


def _loaded(path: Path) -> tuple[Checkpoint, dict[str, Any]]:
    """What a path holds, and the options it names."""
    if path.is_dir():
        return portable.read(path)
    content = loaded(path)
    for publisher, published in (("FastReID", fastreid), ("torchreid", torchreid)):
        tensors = published.tensors_of(content)
        if tensors is not None:
            converted = published.convert(tensors, path)
            _log.info(
                "%s: %s's %s: %s; left out: %s; assumed: %s",
                path, publisher, converted.checkpoint.architecture, converted.report,
                ", ".join(converted.left_out) or "nothing", "; ".join(converted.assumed) or "-",
            )  # fmt: skip
            return converted.checkpoint, {"flip": False}
    return Checkpoint.of_content(content, path), {}
