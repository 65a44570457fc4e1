"""The model file: what training leaves and everything after needs, and weights from elsewhere.

Nothing here runs code from a file: both are loaded as weights only.
"""

import io
import json
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self, cast

import safetensors.torch
import torch
from torch import Tensor, nn

from naic_reid import files
from naic_reid.architecture import Architecture
from naic_reid.artifacts import MadeBy, canonical
from naic_reid.errors import ReidError
from naic_reid.models import build, osnet
from naic_reid.models.attributes import TrainedAttributes
from naic_reid.models.embedder import Embedder
from naic_reid.models.mgn import Trunks
from naic_reid.models.non_local import NonLocal
from naic_reid.models.usam import USAM

LEAST_COVERAGE = 0.95
_WRAPPERS = ("state_dict", "model", "weights")
_ADDED = (NonLocal, USAM)
_PREFIXES = ("module.", "base.", "backbone.")


@dataclass(frozen=True)
class Checkpoint:
    """A trained network at the end of an epoch; with it and images, features can be taken.

    `weights` are the embedder's tensors by name, `classifier` the identity loss's, of which
    `weight` has a row per class. All are on the CPU.
    """

    weights: Mapping[str, Tensor]
    classifier: Mapping[str, Tensor]
    epoch: int
    """From 1: how many were finished."""
    identities: tuple[str, ...]
    """`source/label` by class index."""
    architecture: Architecture
    """What `models.build` rebuilds the network from."""
    made_by: MadeBy = field(default_factory=MadeBy)
    name: str = field(default="this checkpoint", compare=False)
    """What errors call it: its path, once read."""
    attributes: TrainedAttributes | None = field(default=None, kw_only=True)
    """Heads that tell what persons wear, where such were trained."""

    def __post_init__(self) -> None:
        _hold(self.epoch >= 0, "an epoch")
        _hold(len(set(self.identities)) == len(self.identities), "unique identities")
        worn = self.attributes.tensors if self.attributes else {}
        for tensors in (self.weights, self.classifier, worn):
            for name, tensor in tensors.items():
                _hold(
                    not tensor.is_floating_point() or bool(torch.isfinite(tensor).all()),
                    f"finite weights, which {name} is not",
                )
        if "weight" in self.classifier:
            rows = len(self.classifier["weight"])
            _hold(rows == len(self.identities), f"a class row for each identity, not {rows}")

    @classmethod
    def of(
        cls,
        embedder: Embedder,
        classifier: nn.Module,
        epoch: int,
        identities: tuple[str, ...],
        architecture: Architecture,
        made_by: MadeBy,
    ) -> Self:
        """A copy of a network and its identity loss as they are now, on the CPU."""
        return cls(
            _copied(embedder.state_dict()),
            _copied(classifier.state_dict()),
            epoch,
            identities,
            architecture,
            made_by,
        )

    def embedder(self) -> Embedder:
        """The network, in evaluation mode on the CPU; PyTorch's generator is left as it was.

        Raises:
            ReidError: the weights are not those of the architecture.
        """
        with torch.random.fork_rng(devices=[]):
            embedder = build(self.architecture)
        report = compared(embedder, dict(self.weights))
        if report.missing or report.unexpected or report.mismatched:
            raise ReidError(
                f"{self.name}: its weights are not those of {self.architecture.backbone}: {report}; "
                "train the model again"
            )
        embedder.load_state_dict(dict(self.weights))
        return embedder.eval()

    def write(self, path: Path) -> None:
        """One file; equal content gives equal bytes."""
        # As one text, for pickle writes equal strings differently when they are one object.
        told = {
            "epoch": self.epoch,
            "identities": list(self.identities),
            "model": self.architecture.options,
            "made_by": self.made_by.to_json(),
        }
        content = {
            "type": "Checkpoint",
            "record": canonical(told | (self.attributes.words if self.attributes else {})),
            "weights": _copied(self.weights),
            "classifier": _copied(self.classifier),
        }
        if self.attributes:
            content["attributes"] = _copied(self.attributes.tensors)
        # Into a stream, for torch writes the file's name into a file it opens itself.
        with files.streamed(path) as stream:
            torch.save(content, cast(IO[bytes], stream))

    @classmethod
    def read(cls, path: Path) -> Self:
        """A file that `write` wrote.

        Raises:
            ReidError: it is none, is damaged, or holds code.
        """
        return cls.of_content(loaded(path), path)

    @classmethod
    def of_content(cls, content: Any, path: Path) -> Self:
        """What `loaded` gave for a file that `write` wrote; raises as `read`."""
        try:
            if not isinstance(content, dict):
                raise ValueError(f"it holds a {type(content).__name__}")
            if content["type"] != "Checkpoint":
                raise ValueError(f"it holds {content['type']}")
            record = json.loads(content["record"])
            made_by = MadeBy.from_json(record["made_by"])
            return cls(
                _of_today(content["weights"]),
                content["classifier"],
                record["epoch"],
                tuple(record["identities"]),
                _architecture(record["model"]),
                made_by,
                str(path),
                attributes=TrainedAttributes.of(record, content.get("attributes", {})),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise ReidError(
                f"{path}: not a whole Checkpoint file: {reason}; delete it and train again"
            ) from error


@dataclass(frozen=True)
class Report:
    """How a file's tensors fit a module's, by the module's names."""

    loaded: int
    total: int
    missing: tuple[str, ...]
    """In the module, not in the file: left as drawn."""
    unexpected: tuple[str, ...]
    """In the file, not in the module: left out."""
    mismatched: tuple[str, ...]
    """In both, with different shapes: left as drawn."""

    @property
    def coverage(self) -> float:
        """The share of the module's tensors that were loaded."""
        return self.loaded / max(self.total, 1)

    def __str__(self) -> str:
        parts = [f"{self.loaded} of {self.total} tensors"]
        for word in ("missing", "unexpected", "mismatched"):
            names: tuple[str, ...] = getattr(self, word)
            if names:
                more = ", …" if len(names) > 3 else ""
                parts.append(f"{len(names)} {word} ({', '.join(names[:3])}{more})")
        return "; ".join(parts)


def load_pretrained(module: nn.Module, path: Path) -> Report:
    """Put a published file's tensors into a backbone, by name, and say how they fit.

    A `state_dict` or `model` around the tensors is taken off, and so are the prefixes `module.`,
    `base.` and `backbone.`; the classifier, exactly `fc.…`, stays out, while a gate's `se.fc.…` comes
    in; counters of batches need not be there, nor attention that is put into a published network and at
    first changes little (non-local, USAM). Files of torchreid's OSNets and of EfficientNet-PyTorch are
    understood as well.

    Raises:
        ReidError: the file cannot be read, holds code or non-finite weights, or less than 95 % of the
            module's other tensors would be loaded. The module is then as it was.
    """
    tensors = _renamed(_unwrapped(loaded(path), path), module)
    report = compared(module, tensors)
    added = tuple(f"{name}." for name, part in module.named_modules() if isinstance(part, _ADDED))
    needed = report.total - sum(name.startswith(added) for name in report.missing)
    if report.loaded < LEAST_COVERAGE * needed:
        raise ReidError(
            f"{path}: only {report.loaded / needed:.0%} of the backbone's tensors are in it: {report}; "
            "use weights of the same backbone"
        )
    fitting = set(module.state_dict()) - {*report.missing, *report.mismatched}
    for name in sorted(fitting & set(tensors)):
        if tensors[name].is_floating_point() and not bool(torch.isfinite(tensors[name]).all()):
            raise ReidError(f"{path}: {name} is not finite; fetch the file again")
    module.load_state_dict({name: tensors[name] for name in fitting if name in tensors}, strict=False)
    return report


def carry_classes(classifier: nn.Module, embedder: Embedder, identities: Sequence[str], path: Path) -> int:
    """Start classes from their rows in a checkpoint, where it knows an identity of that name; how many.

    The neck of their branch is taken over with them, for rows are directions in what it gives.

    Args:
        classifier: an identity loss, whose `weight` has a row for each class.
        embedder: whose first identity group they judge.
        identities: by class index.
        path: a `Checkpoint` file.

    Raises:
        ReidError: the file names no classes, its rows have another width, or it has no such branch.
    """
    try:
        known = Checkpoint.read(path)
    except ReidError as error:
        raise ReidError(
            f"{path}: names no classes that could be carried over, as this project's checkpoints do: set "
            f"carry_classes: false ({error})"
        ) from error
    weight, rows = classifier.get_parameter("weight"), known.classifier["weight"]
    if rows.shape[1] != weight.shape[1]:
        raise ReidError(
            f"{path}: its classes have {rows.shape[1]} numbers, and this model's {weight.shape[1]}: set "
            "carry_classes: false, or pretrain with the same backbone"
        )
    row_of = {identity: row for row, identity in enumerate(known.identities)}
    pairs = [(row, row_of[identity]) for row, identity in enumerate(identities) if identity in row_of]
    if pairs:
        mine, theirs = (list(column) for column in zip(*pairs, strict=True))
        with torch.no_grad():
            weight[mine] = rows[theirs]
    for branch in embedder.identity_groups[0].branches:
        prefix = f"branches.{branch}.neck."
        own = {name: value for name, value in known.weights.items() if name.startswith(prefix)}
        if not own:
            raise ReidError(
                f"{path}: has no branch {branch}, whose classes would be carried over: set carry_classes: "
                "false, or pretrain with the same head"
            )
        neck = embedder.get_submodule(prefix.removesuffix("."))
        neck.load_state_dict({name.removeprefix(prefix): value for name, value in own.items()})
    return len(pairs)


def compared(module: nn.Module, tensors: Mapping[str, Tensor]) -> Report:
    """How tensors by name fit a module's; counters of batches are not looked at."""
    own = {name: tensor.shape for name, tensor in module.state_dict().items() if not _counter(name)}
    given = {name: tensor.shape for name, tensor in tensors.items() if not _counter(name)}
    mismatched = tuple(name for name in own if name in given and own[name] != given[name])
    missing = tuple(name for name in own if name not in given)
    unexpected = tuple(name for name in given if name not in own)
    return Report(len(own) - len(missing) - len(mismatched), len(own), missing, unexpected, mismatched)


# What tensors were called before networks had branches.
_EARLIER = (
    (re.compile(r"^bottleneck\."), "branches.whole.neck."),
    (re.compile(r"^stripes\.embed\.(\d+)\.0\."), r"branches.stripe_\1.reduction."),
    (re.compile(r"^stripes\.embed\.(\d+)\.1\."), r"branches.stripe_\1.neck."),
    (re.compile(r"^stripes\.gate\.(\d+)\."), r"branches.stripe_\1.gate."),
)


def _architecture(options: dict[str, Any]) -> Architecture:
    """Of a checkpoint's record; those of timm's networks once named a stride that they did not have."""
    if str(options.get("backbone")).startswith("timm/"):
        options = {name: value for name, value in options.items() if name != "last_stride"}
    return Architecture.model_validate(options)


def _of_today(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a checkpoint under the names that they have now."""
    named = {}
    for name, tensor in tensors.items():
        for earlier, now in _EARLIER:
            name = earlier.sub(now, name)
        named[name] = tensor
    return named


def _counter(name: str) -> bool:
    return name.endswith("num_batches_tracked")


def _unwrapped(content: Any, path: Path) -> dict[str, Tensor]:
    """The tensors by name, without what training wrapped around them."""
    while isinstance(content, Mapping) and (key := next((k for k in _WRAPPERS if k in content), None)):
        content = content[key]
    if not isinstance(content, Mapping):
        raise ReidError(f"{path}: not weights: a table of tensors by name is needed, not {type(content)}")
    tensors = {}
    for name, tensor in content.items():
        if isinstance(name, str) and isinstance(tensor, Tensor):
            while prefix := next((p for p in _PREFIXES if name.startswith(p)), ""):
                name = name.removeprefix(prefix)
            if not name.startswith("fc."):
                tensors[name] = tensor
    return tensors


def _renamed(tensors: dict[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """The tensors of a file of other names under the module's.

    Of a ResNet for MGN's trunks, of torchreid's OSNets, and of EfficientNet-PyTorch for timm's
    `tf_efficientnet_…` of the same shape: these two define the same tensors in the same order, and compute
    the same to the bit. (timm's `efficientnet_…` without `tf_` has those shapes too, but pads its borders
    otherwise.)
    """
    if isinstance(module, Trunks) and not any(name.startswith("trunks.") for name in tensors):
        return module.of_resnet(tensors)
    if isinstance(module, osnet.OSNet):
        return {osnet.renamed(name): tensor for name, tensor in tensors.items()}
    if "_conv_stem.weight" not in tensors:
        return tensors
    given = [tensor for name, tensor in tensors.items() if not name.startswith("_fc.")]
    own = module.state_dict()
    same = [tensor.shape for tensor in given] == [tensor.shape for tensor in own.values()]
    return dict(zip(own, given, strict=True)) if same else tensors


def loaded(path: Path) -> Any:
    """What `torch.save` wrote, as weights only, or the tensors of a `.safetensors`, on the CPU.

    The file is read once: its digest, its checksums and its tensors are of the same bytes. Until the tensors
    are made of them, it is in memory twice.
    """
    try:
        read = files.content(path)
        if path.suffix == ".safetensors":
            return safetensors.torch.load(read)
        zipped = read[:2] == b"PK"
        if not read or (zipped and not zipfile.is_zipfile(io.BytesIO(read))):
            raise ValueError("it ends too early")
        if not zipped and read[:1] != b"\x80":
            raise ValueError("torch did not write it")
        if zipped:
            with zipfile.ZipFile(io.BytesIO(read)) as archive:
                files.require_sound(archive)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch wonders about the format of what it then refuses
            return torch.load(io.BytesIO(read), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ReidError(
            f"{path}: it holds more than weights, and loading it would run its code; if you trust it, "
            "save its tensors alone: torch.save(torch.load(path, weights_only=False)['state_dict'], new)"
        ) from error
    except OSError as error:
        raise ReidError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (MemoryError, ReidError):
        raise
    except Exception as error:  # zipfile and torch raise whatever the damage leads to
        reason = str(error).splitlines()[0] if str(error) else "it ends too early"
        raise ReidError(f"{path}: not a whole file of weights: {reason}; fetch or make it again") from error


def _copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Own, plainly laid out copies on the CPU: what is saved is the values and not their history."""
    return {
        name: tensor.detach().to("cpu").clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }


def _hold(condition: bool, promise: str) -> None:
    if not condition:
        raise ValueError(f"it must have {promise}")
