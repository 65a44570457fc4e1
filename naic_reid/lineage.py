"""Where an artefact comes from: its record, the files it was made from, and whether these still are what
they were.

A record names its inputs as they were given on the command line, so a relative name is looked for from
each folder above the artefact, the nearest first: results may be moved or looked at from elsewhere, and
another run's files are never taken for their own.
"""

import json
import pickletools
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from naic_reid import artifacts
from naic_reid.architecture import Architecture, reason
from naic_reid.artifacts import MadeBy
from naic_reid.errors import ReidError
from naic_reid.files import digest, json_in, known_digest, regular


def record(path: Path) -> MadeBy | None:
    """What made a file; none where it is no artefact, such as a label list, weights or the truth.

    A record stands in the file or, where its format leaves no room, beside it: `x.record.json`.

    Raises:
        ReidError: the file is an artefact and damaged, or cannot be read.
    """
    if path.suffix == ".json" or sidecar(path).is_file():
        return _json_record(path)
    if path.suffix in (".pt", ".pth"):
        return _checkpoint_record(path)
    return artifacts.record(path)


def sidecar(path: Path) -> Path:
    """Where the record of a file stands whose own format leaves no room for it."""
    return path.with_suffix(".record.json")


@dataclass(frozen=True)
class Seal:
    """A file whose own format leaves no room for a record, and the JSON artefact that holds its digest."""

    file: Path
    holder: Path
    key: str
    """Under which the digest stands."""

    @property
    def complete(self) -> bool:
        """Whether both are there."""
        return self.file.exists() and self.holder.exists()

    def fault(self) -> str:
        """Why the two cannot be believed, as a sentence that names the file; empty: they can.

        Nothing is said where either is not there.
        """
        for path in (self.file, self.holder):
            if path.is_symlink():
                return f"{path}: is a link to {path.readlink()}, which no step made"
            if path.exists() and not path.is_file():
                return f"{path}: is no file"
        if not self.complete:
            return ""
        try:
            told = json_in(self.holder)
            artifacts.read_json(self.holder, told["type"])
        except (ReidError, OSError, ValueError, KeyError, TypeError):
            return f"{self.holder}: was cut or edited"
        if told.get(self.key) != digest(self.file):
            return f"{self.file}: was cut, replaced or edited since {self.holder} was written for it"
        return ""

    def outdated(self) -> list[str]:
        """The inputs, as the record names them, that are not what they were; the seal has no fault."""
        made_by = record(self.holder) if self.holder.is_file() else None
        return changed(self.holder, made_by) if made_by else []

    def set_aside(self) -> list[Path]:
        """Move what stands in both places away, a link and not what it leads to; where it lies now.

        Raises:
            ReidError: it cannot be moved.
        """
        moved = []
        for path in (self.file, self.holder):
            if path.exists() or path.is_symlink():
                away = path.with_name(f"{path.name}.old")
                try:
                    path.replace(away)
                except OSError as error:
                    raise ReidError(f"{path}: cannot be moved away ({error.strerror}): move it") from error
                moved.append(away)
        return moved


def place(artefact: Path, given: str) -> Path | None:
    """Where an input of the artefact lies, by the name it was given then; none: nowhere."""
    for folder in artefact.absolute().parents:
        found = folder / given  # an absolute name stays itself
        if found.exists():
            return _as_called(found)
    return None


def changed(artefact: Path, made_by: MadeBy) -> list[str]:
    """The recorded inputs of the artefact that lie in their places but are not what they were."""
    return [
        given
        for given, recorded in made_by.inputs
        if (found := place(artefact, given)) is not None
        and found.is_file()
        and known_digest(found) != recorded
    ]


def refuse_stale(paths: Iterable[Path], stage: str, revision: Callable[[str], int | None]) -> None:
    """Refuse what a stage is given to read when its record and what lies around it disagree.

    What cannot be judged is left to the stage: files without a record, damaged ones, and those the stage
    itself made, for these it will write and not read.

    Args:
        paths: all files the stage is given, also those that it will write.
        stage: its name.
        revision: the current revision of a stage by its name; none for names unknown.

    Raises:
        ReidError: a file was made by another revision, or from an input that has changed since.
    """
    for path in paths:
        try:
            made_by = record(path) if path.is_file() else None
        except ReidError:
            continue
        if made_by is None or made_by.stage in ("", stage):
            continue
        current = revision(made_by.stage)
        if current is not None and made_by.revision != current:
            raise ReidError(
                f"{path}: made by revision {made_by.revision} of {made_by.stage}, and this is revision "
                f"{current}: delete it and run again"
            )
        for given in changed(path, made_by):
            raise ReidError(f"{path}: was made from another {given}: delete it and run again")


def agree(path: Path, made_by: MadeBy, reader: MadeBy, sources: Sequence[Path]) -> None:
    """Refuse an artefact that was not made from the sources it is read together with.

    A record without inputs, of a file made by other means, is not judged.

    Args:
        path: the artefact.
        made_by: its record.
        reader: the record of what is being made from it, the sources among its inputs.
        sources: files that it must have been made from.

    Raises:
        ReidError: a source is not among its recorded inputs; the message names both files.
    """
    known = {recorded for _, recorded in made_by.inputs}
    digests = dict(reader.inputs)
    for source in sources if known else ():
        if digests[source.as_posix()] not in known:
            raise ReidError(f"{path}: was not made from {source}: delete it and run again")


def require_twins(query: Path, one: MadeBy, gallery: Path, other: MadeBy) -> None:
    """Refuse features of query and gallery that differ in checkpoint or settings; only the images may.

    Raises:
        ReidError: they differ; the message names both files.
    """
    if (one.settings, one.inputs[1:]) != (other.settings, other.inputs[1:]):
        raise ReidError(
            f"{gallery}: was not extracted as {query} was (another checkpoint or other settings): delete "
            "both and run again"
        )


def network(made_by: MadeBy) -> dict[str, Any]:
    """What a record of features says about the network; empty where it says nothing."""
    told = json.loads(made_by.settings)
    return {key: told[key] for key in ("model", "epoch") if key in told}


def check_members(
    models: Mapping[str, Mapping[str, Any]], epochs: Sequence[int], reader: MadeBy,
    records: Mapping[Path, MadeBy], query: Sequence[Path], gallery: Sequence[Path], jaccard: Sequence[Path],
) -> None:  # fmt: skip
    """Refuse files of an ensemble in which some are not those of their member.

    Args:
        models: the settings of each model, by name.
        epochs: of each model's checkpoints; members are models in order, then epochs.
        reader: the record of what is being made from all these files.
        records: of all files.
        query: features, in the order of members.
        gallery: features, in the order of members.
        jaccard: rows, in the order of members.

    Raises:
        ReidError: features of another network, or rows made from other features; the message names them.
    """
    members = [(name, epoch) for name in models for epoch in epochs]
    for (name, epoch), one, other, rows in zip(members, query, gallery, jaccard, strict=True):
        for path in (one, other):
            check_network(path, records[path], name, models[name], epoch)
        agree(rows, records[rows], reader, [one, other])


def check_network(path: Path, made_by: MadeBy, name: str, model: Mapping[str, Any], epoch: int) -> None:
    """Refuse features by what their record says of the network; one that says nothing is not judged.

    Args:
        path: of the features.
        made_by: their record.
        name: of the model they should be of.
        model: its settings.
        epoch: of its checkpoint.

    Raises:
        ReidError: they are of another network or epoch.
    """
    told = network(made_by)
    if "model" not in told:
        return
    try:
        used = Architecture.within(told["model"])
    except ValueError as error:
        raise ReidError(
            f"{path}: of a network that is not built any more ({reason(error)}): delete it and run again"
        ) from error
    if used != Architecture.within(model) or told.get("epoch", epoch) != epoch:
        raise ReidError(
            f"{path}: features of {used}, epoch {told.get('epoch')}, where those of models.{name}, epoch "
            f"{epoch}, belong: delete it and run again"
        )


def _json_record(path: Path) -> MadeBy | None:
    holder = sidecar(path) if sidecar(path).exists() else path
    try:
        content = json_in(holder)
        if not isinstance(content, dict) or "made_by" not in content:
            return None
        if "checksum" in content:
            return artifacts.read_json(holder, content["type"])[0]
        return MadeBy.from_json(json.dumps(content["made_by"]))
    except OSError as error:
        raise ReidError(f"{holder}: cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ReidError(f"{holder}: its record is damaged: {error}; delete it and run again") from error


def _checkpoint_record(path: Path) -> MadeBy | None:
    """The record in a `Checkpoint` file; none in other files of weights.

    The pickle inside is looked through and not loaded: that runs nothing, and needs no torch.
    """
    try:
        with zipfile.ZipFile(regular(path)) as archive:
            name = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
            texts = [text for _, text, _ in pickletools.genops(archive.read(name)) if isinstance(text, str)]
        if texts[:3] != ["type", "Checkpoint", "record"]:
            return None
        return MadeBy.from_json(json.loads(texts[3])["made_by"])
    except OSError as error:
        raise ReidError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception:  # zipfile and pickletools raise whatever the damage leads to: its reader refuses it
        return None


def _as_called(path: Path) -> Path:
    """The path as a person in this folder would write it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
