"""The recipe's words as the things that train: what the config says, made of what the rooms have."""

import logging
import os
import shutil

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from naic_reid import losses
from naic_reid.config import Loss, Train
from naic_reid.errors import ReidError
from naic_reid.models.embedder import Embedder
from naic_reid.training import optimizers, schedule
from naic_reid.training.learner import Learner, Term

_log = logging.getLogger(__name__)


def terms(train: Train, embedder: Embedder) -> dict[str, float]:
    """The weight of each term of the loss, by name; a head's own terms weigh 1."""
    own = {group.term: 1.0 for group in embedder.identity_groups if group.term}
    return {loss.name: loss.weight for loss in _losses(train)} | own


def learner(train: Train, embedder: Embedder, num_classes: int) -> Learner:
    """The embedder with the terms that judge its branches, their class rows drawn."""

    def options(loss: Loss) -> dict[str, float | None]:
        return loss.model_dump(include={"scale", "margin", "smoothing"})

    first, *others = _losses(train)
    identity, metrics = [], []
    for group in embedder.identity_groups:
        width = embedder.width(group.branches)
        judge = (
            losses.build_identity("linear", num_classes, width, smoothing=0.0)
            if group.term
            else losses.build_identity(first.name, num_classes, width, **options(first))
        )
        identity.append(Term(group.term or first.name, group, judge))
    for loss in others:
        for group in embedder.metric_groups:
            width = embedder.width(group.branches)
            judge = losses.build_metric(loss.name, num_classes, width, **options(loss))
            metrics.append(Term(loss.name, group, judge))
    return Learner(embedder, identity, metrics)


def optimizer(train: Train, learner: Learner) -> torch.optim.Optimizer:
    """The backbone's parameters, and the head's: branches, and what the losses hold per class."""
    named = list(learner.named_parameters())
    body = [p for name, p in named if name.startswith("embedder.backbone.")]
    head = [p for name, p in named if not name.startswith("embedder.backbone.")]
    rates = (train.learning_rate, train.head_learning_rate or train.learning_rate)
    return optimizers.build(train.optimizer, zip((body, head), rates, strict=True), train.weight_decay)


def average(train: Train, embedder: Embedder) -> AveragedModel | None:
    """The moving average of weights and running statistics, if there shall be one."""
    if train.ema is None:
        return None
    mean = get_ema_multi_avg_fn(train.ema)  # type: ignore[no-untyped-call]
    return AveragedModel(embedder, multi_avg_fn=mean, use_buffers=True)


def factor(train: Train, epoch: int, share: float) -> float:
    """Of the learning rate, a share of an epoch after its begin."""
    s = train.schedule
    when = epoch + share if s.each == "step" else float(epoch)
    warm = schedule.warmup(when, s.warmup_epochs, s.warmup_factor)
    if s.kind == "cosine":
        return warm * schedule.cosine(when, s.warmup_epochs + s.flat_epochs, train.epochs)
    return warm * schedule.multistep(when, s.milestones, s.gamma)


def compiled(learner: Learner) -> nn.Module:
    """The learner made faster by torch.compile, which writes C++: for a CPU, and to call a GPU."""
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise ReidError(
            f"--compiled needs a C++ compiler, and there is no {compiler} here: install one (apt install "
            "g++), name it in CXX, or leave --compiled out"
        )
    faster: nn.Module = torch.compile(learner)  # type: ignore[assignment]
    return faster


def identities(batch: int, num_instances: int, classes: int, parts: int) -> int:
    """How many identities a batch shows: what is configured, if there are as many, in equal parts."""
    wanted = batch // num_instances
    if wanted > classes:
        raise ReidError(
            f"train.batch {batch} is {wanted} identities of {num_instances} images, and there are {classes}: "
            f"at most {classes * num_instances}"
        )
    found = min(wanted, classes) // parts * parts
    if found < 2:
        raise ReidError(
            f"{classes} identities, {wanted} to a batch, make no {parts} parts: lower train.accumulate or "
            "the number of processes, or make train.batch larger"
        )
    if found < wanted:
        _log.warning("train: batches of %d identities instead of %d: %d to show, %d equal parts",
                     found, wanted, classes, parts)  # fmt: skip
    return found


def parts(identities: int, group: int, accumulate: int) -> list[int]:
    """Images that may go through the network at once, largest first: whole groups, of two identities."""
    cuts = [n for n in range(accumulate, max(accumulate, identities // 2) + 1) if identities % n == 0]
    return [identities // n * group for n in cuts]


def _losses(train: Train) -> list[Loss]:
    return [train.identity_loss, *([train.metric_loss] if train.metric_loss else []), *train.more_losses]
