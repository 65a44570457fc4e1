"""A model as an ONNX graph: from pixels to unit features, in fp32 or in int8; and how it is run.

The graph holds everything between a picture of the input's size and its feature: normalisation (for pixels),
the mirror image, the sum and the scaling to length 1. Only resizing stays outside.
"""

import copy
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import reduce
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from naic_reid.artifacts import Floats
from naic_reid.data.augment import MEAN, STD
from naic_reid.data.geometry import scaled
from naic_reid.errors import extra
from naic_reid.extractor import Extractor
from naic_reid.models.branches import Seen, summed
from naic_reid.models.dimension import reduced
from naic_reid.models.embedder import Embedder

Pixels = NDArray[np.uint8]
"""uint8 [B, H, W, 3], R, G, B."""

INPUTS = ("pixels", "normalised")
"""What a graph takes: uint8 [B, H, W, 3], or float32 [B, 3, H, W] as `normalised` gives."""
OUTPUT = "features"

# What has kernels for int8; the rest (instance normalisation, pooling, scaling to length 1) stays in fp32.
_QUANTISED = ["Conv", "Add", "MaxPool", "Concat", "Relu", "GlobalAveragePool"]
_AT_ONCE = 16


class Graph(nn.Module):
    """What is exported: the network, and all that the extractor does around it, in plain operations."""

    def __init__(self, extractor: Extractor, takes: str) -> None:
        """Of an extractor in fp32; `takes` is one of `INPUTS`."""
        super().__init__()
        self.network, self.flip = _plain(extractor.network), extractor.flip
        self.scales = extractor.how.scales
        self.stripes_weight, self.takes = extractor.how.stripes_weight, takes
        self.channels = extractor.how.channels
        deviation = torch.tensor(STD).view(1, 3, 1, 1)
        self.scale = nn.Buffer(1 / (255 * deviation))
        self.shift = nn.Buffer(-torch.tensor(MEAN).view(1, 3, 1, 1) / deviation)

    def forward(self, images: Tensor) -> Tensor:
        """Features float32 [B, D] of length 1."""
        if self.takes == "pixels":
            images = images.permute(0, 3, 1, 2).float() * self.scale + self.shift
        # Once through the network, both images side by side: a graph half as long.
        views = torch.cat((images, images.flip(3))) if self.flip else images
        seen = reduce(summed, (self.network(scaled(views, area)) for area in self.scales))
        if not self.flip:
            return self._unit(seen)
        count = images.shape[0]
        here, mirrored = ({name: _part(both, rows) for name, both in seen.items()}
                          for rows in (slice(count), slice(count, None)))  # fmt: skip
        return self._unit(summed(here, mirrored))

    def _unit(self, seen: dict[str, Seen]) -> Tensor:
        rows = self.network.unit(seen, self.stripes_weight)
        return rows if self.channels is None else reduced(rows, self.channels.keep, self.channels.by)


def _plain(network: Embedder) -> Embedder:
    """A copy whose tensors are each alone in their memory, and in plain order there: as files want them."""
    network = copy.deepcopy(network)
    for tensor in (*network.parameters(), *network.buffers()):
        tensor.data = tensor.data.clone(memory_format=torch.contiguous_format)
    return network


def _part(seen: Seen, rows: slice) -> Seen:
    """Of what a branch saw, that of some images."""
    mass = None if seen.mass is None else seen.mass[rows]
    return Seen(seen.embedding[rows], seen.feature[rows], mass)


def normalised(pixels: Pixels) -> Floats:
    """(x / 255 − MEAN) / STD, float32 [B, 3, H, W]."""
    values = (pixels / 255 - np.array(MEAN)) / np.array(STD)
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2), np.float32)


def given(pixels: Pixels, takes: str) -> NDArray[np.generic]:
    """Pixels as a graph takes them."""
    return pixels if takes == "pixels" else normalised(pixels)


def traced(extractor: Extractor, takes: str) -> torch.export.ExportedProgram:
    """The graph as torch.export traces it, for batches of any size."""
    geometry = extractor.geometry
    example = torch.from_numpy(given(np.zeros((2, geometry.height, geometry.width, 3), np.uint8), takes))
    batch = torch.export.Dim("batch")
    with torch.no_grad():
        return torch.export.export(Graph(extractor, takes).eval(), (example,), dynamic_shapes=({0: batch},))


def write(program: torch.export.ExportedProgram, takes: str, path: Path) -> None:
    """Write a traced graph as one ONNX file."""
    with extra("export", "an ONNX file"):
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    quiet = logging.getLogger("onnx_ir")
    level = quiet.level
    quiet.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what torch's exporter will drop in some later version
            made = torch.onnx.export(
                program, input_names=[takes], output_names=[OUTPUT], dynamo=True, verbose=False
            )  # fmt: skip
    finally:
        quiet.setLevel(level)
    assert made is not None
    made.save(str(path), external_data=False)


def quantise(path: Path, takes: str, pixels: Pixels) -> None:
    """Replace an ONNX file by one whose convolutions multiply int8.

    Weights are scaled by output channel, activations by the range they have on `pixels`.
    """
    with extra("export", "int8"):
        from onnxruntime import quantization
        from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc] # it has no types
        def __init__(self) -> None:
            self._left: Iterator[Pixels] = iter(np.split(pixels, range(_AT_ONCE, len(pixels), _AT_ONCE)))

        def get_next(self) -> Mapping[str, NDArray[np.generic]] | None:
            batch = next(self._left, None)
            return None if batch is None else {takes: given(batch, takes)}

    quiet = logging.getLogger()
    level = quiet.level
    quiet.setLevel(logging.ERROR)  # it advises what has been done already
    try:
        with tempfile.TemporaryDirectory() as folder:
            folded, made = Path(folder) / "folded.onnx", Path(folder) / "int8.onnx"
            quant_pre_process(str(path), str(folded), skip_symbolic_shape=True)
            quantization.quantize_static(
                str(folded), str(made), Reader(), quant_format=quantization.QuantFormat.QDQ, per_channel=True,
                activation_type=quantization.QuantType.QUInt8, weight_type=quantization.QuantType.QInt8,
                op_types_to_quantize=_QUANTISED,
            )  # fmt: skip
            path.write_bytes(made.read_bytes())
    finally:
        quiet.setLevel(level)


def session(path: Path, takes: str, threads: int = 0) -> Callable[[Pixels], Floats]:
    """ONNX Runtime on this processor: pixels → features."""
    with extra("export", "running an ONNX file"):
        import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    loaded = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def features(pixels: Pixels) -> Floats:
        return np.asarray(loaded.run(None, {takes: given(pixels, takes)})[0], np.float32)

    return features
