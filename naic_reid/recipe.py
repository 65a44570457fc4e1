"""The recipe's words as the things that train: what the config says, made of what the rooms have."""

import logging
import os
import shutil
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from naic_reid import config, losses
from naic_reid.config import Loss, Train, Unlabelled
from naic_reid.data.attributes import Attributes
from naic_reid.data.augment import MEAN, STD
from naic_reid.errors import ReidError
from naic_reid.losses.ratio import Ratio
from naic_reid.losses.regions import Regions
from naic_reid.models import ratio, sight
from naic_reid.models.attributes import AttributeHeads, TrainedAttributes
from naic_reid.models.embedder import Embedder
from naic_reid.models.regions import WIDTH
from naic_reid.training import optimizers, schedule
from naic_reid.training.attack import Attack
from naic_reid.training.average import Average, Equal, Moving
from naic_reid.training.consistency import Consistency, Logits
from naic_reid.training.learner import ADVERSARIAL, RATIO, UNLABELLED, Learner, Located, Scaled, Term
from naic_reid.training.teacher import Teacher

ATTRIBUTES = "attributes"
"""The term of what persons wear."""

_log = logging.getLogger(__name__)


def terms(train: Train, embedder: Embedder) -> dict[str, float]:
    """The weight of each term of the loss, by name; a head's own terms weigh 1."""
    own = {group.term: 1.0 for group in embedder.identity_groups if group.term}
    if embedder.located is not None:
        own |= {"regions": 1.0, "locator": 0.5}  # VPM's
    added = {ADVERSARIAL: train.adversarial, UNLABELLED: train.unlabelled, RATIO: train.ratio,
             ATTRIBUTES: train.attributes}  # fmt: skip
    more = {name: term.weight for name, term in added.items() if term}
    return {loss.name: loss.weight for loss in _losses(train)} | own | more


def learner(
    train: Train, embedder: Embedder, num_classes: int, attributes: Attributes | None = None,
    classes: Sequence[str] = (),
) -> Learner:  # fmt: skip
    """The embedder with the terms that judge its branches, their class rows drawn.

    With `attributes`, what is known of the `classes`, there is a term for these, too, drawn last.
    """

    def options(loss: Loss) -> dict[str, float | None]:
        return loss.model_dump(include={"scale", "margin", "smoothing"})

    first, *others = _losses(train)
    identity: list[Term] = []
    metrics: list[Term] = []
    for group in embedder.identity_groups:
        width = embedder.width(group.branches)
        judge = (
            losses.build_identity("linear", num_classes, width, smoothing=0.0)
            if group.term
            else losses.build_identity(first.name, num_classes, width, **options(first))
        )
        identity.append(Term(group.term or first.name, group, judge))
    for loss in others:
        of_classes = loss.name in losses.IDENTITY_LOSSES
        build = losses.build_identity if of_classes else losses.build_metric
        plain = [group for group in embedder.identity_groups if not group.term]
        for group in plain if of_classes else embedder.metric_groups:
            more = {} if of_classes else {"regions": embedder.regions}
            judge = build(loss.name, num_classes, embedder.width(group.branches), **options(loss), **more)
            (identity if of_classes else metrics).append(Term(loss.name, group, judge, train.metric_on))
    if attributes is not None and train.attributes is not None:
        group = embedder.identity_groups[0]._replace(weight=1.0)  # of several branches one is asked
        heads = _attribute_heads(train.attributes, attributes, embedder)
        known = torch.from_numpy(attributes.of(classes))
        identity.append(Term(ATTRIBUTES, group, losses.AttributeLoss(heads, known)))
    teacher = None if train.teacher is None else Teacher(embedder, train.teacher)
    unlabelled = train.unlabelled
    consistency = None if unlabelled is None else _consistency(unlabelled, embedder, identity)
    of_ratio = None if train.ratio is None else Ratio(train.ratio.loss, train.ratio.cycle)
    located, scaled = _located(embedder, num_classes), _scaled(train, embedder)
    return Learner(embedder, identity, metrics, teacher, located, consistency, of_ratio, scaled)


def _scaled(train: Train, embedder: Embedder) -> Scaled | None:
    """How crops come to be seen at their usual scale, where they do."""
    if train.taps == "none":
        return None
    look = sight.sighted(embedder.backbone)

    def taps(images: Tensor, parts: Tensor | None) -> Tensor | None:
        if train.taps == "predicted":
            assert embedder.ratio is not None, "a config says so of none without"
            return ratio.taps(embedder.ratio(images))
        return None if parts is None else ratio.taps(-parts[:, 1:].log())

    def see(scale: Tensor | None) -> None:
        look.scale = scale

    return Scaled(taps, see)


def _located(embedder: Embedder, num_classes: int) -> Located | None:
    """What teaches a network with visible regions where these are."""
    if embedder.located is None:
        return None
    regions, locator = embedder.located
    return Located(regions, locator, Regions(num_classes, WIDTH, embedder.regions))


def _consistency(words: Unlabelled, embedder: Embedder, identity: Sequence[Term]) -> Consistency:
    """By the recipe's identity loss, which stands first."""
    own = [term for term in identity if term.name == identity[0].name]
    logits = Logits(embedder, [term.group for term in own], [term.loss for term in own])
    decay = words.decay if words.form == "teacher" else None
    return Consistency(logits, losses.CONSISTENCIES[words.form], decay)


def attribute_heads(learner: Learner) -> AttributeHeads | None:
    """The heads that tell what persons wear; none: the learner has none."""
    found = (judge.heads for judge in learner.identity if isinstance(judge, losses.AttributeLoss))
    return next((heads for heads in found if isinstance(heads, AttributeHeads)), None)


def trained_attributes(
    train: Train, attributes: Attributes, tensors: Mapping[str, Tensor]
) -> TrainedAttributes:
    """The heads' tensors with what a checkpoint tells of them."""
    how = train.attributes
    assert how is not None, "they were trained"
    return TrainedAttributes(attributes.values, tensors, how.head, how.cosine, how.reduction)


def _attribute_heads(how: config.Attributes, attributes: Attributes, embedder: Embedder) -> AttributeHeads:
    """Of the first identity group's features."""
    sizes = tuple(len(words) for words in attributes.values.values())
    width = embedder.width(embedder.identity_groups[0].branches)
    return AttributeHeads(
        width, sizes, how.head, dropout=how.dropout, cosine=how.cosine, reduction=how.reduction
    )


def optimizer(train: Train, learner: Learner) -> torch.optim.Optimizer:
    """The backbone's parameters, and the head's: branches, and what the losses hold per class."""
    teachers = [module for module in learner.modules() if isinstance(module, Teacher)]
    taught = {id(parameter) for teacher in teachers for parameter in teacher.parameters()}
    grouped: dict[str, list[nn.Parameter]] = {}
    for name, parameter in learner.named_parameters():
        if id(parameter) in taught:
            continue
        place = "body" if name.startswith("embedder.backbone.") else "head"
        grouped.setdefault(f"{place} biases" if name.endswith(".bias") else place, []).append(parameter)
    rates = _rates(train)
    groups = {name: (parameters, rates[name]) for name, parameters in grouped.items()}
    return optimizers.build(train.optimizer, groups, train.weight_decay, nesterov=train.nesterov)


def attack(levels: int, device: torch.device | None = None) -> Attack:
    """ODFA of so many grey levels at most, within what a photograph can be; its bounds are on the device."""
    mean, deviation = torch.tensor(MEAN, device=device), torch.tensor(STD, device=device)
    return Attack(levels, -mean / deviation, (1 - mean) / deviation)


def attacked(train: Train, step: int) -> bool:
    """Whether a step of an epoch, from 0, sees its images attacked, too."""
    return train.adversarial is not None and step % train.adversarial.every == 0


def set_rates(train: Train, optimizer: torch.optim.Optimizer) -> None:
    """Give the optimizer's groups the recipe's learning rates, before the schedule."""
    optimizers.set_rates(optimizer, _rates(train))


def average(train: Train, embedder: Embedder) -> Average[Embedder] | None:
    """The average of weights that shall be kept in their place, if any."""
    if train.swa_epochs is not None:
        return Equal(embedder, train.epochs - train.swa_epochs)
    return None if train.ema is None else Moving(embedder, train.ema)


def factor(train: Train, epoch: int, step: int, steps: int) -> float:
    """Of the learning rate in a step of an epoch of so many."""
    s = train.schedule
    when = epoch + step / steps if s.each == "step" else float(epoch)
    if s.warmup_on == "loss":
        warm = 1.0
    elif s.warmup_steps:
        warm = schedule.warmup(epoch * steps + step, s.warmup_steps, s.warmup_factor)
    else:
        warm = schedule.warmup(when, s.warmup_epochs, s.warmup_factor)
    if s.counts == "after_warmup":
        return warm * _counted(train, epoch, -(-s.warmup_steps // steps))
    if s.kind == "cosine":
        return warm * schedule.cosine(when, s.warmup_epochs + s.flat_epochs, train.epochs, s.floor)
    return warm * schedule.multistep(when, s.milestones, s.gamma)


def loss_factor(train: Train, epoch: int, step: int, steps: int) -> float:
    """Of the whole loss in a step of an epoch of so many: below 1 where the loss warms up, not the rate.

    Source: the friendly baseline, which raises its factor before it uses it: a step ahead of the rate's.
    """
    s = train.schedule
    if s.warmup_on == "rate":
        return 1.0
    return schedule.warmup(
        epoch * steps + step + 1, s.warmup_steps or s.warmup_epochs * steps, s.warmup_factor
    )


def _counted(train: Train, epoch: int, warm: int) -> float:
    """The fall of the rate, counted from the epoch in which the warm-up ends, which fills `warm` of them.

    Source: FastReID since December 2020. Its cosine never comes down to the floor: it ends an epoch early.
    """
    s = train.schedule
    counted = max(0, epoch - max(warm - 1, s.flat_epochs))
    if s.kind == "cosine":
        return schedule.cosine(counted, 0, train.epochs - max(warm, s.flat_epochs), s.floor)
    return schedule.multistep(counted, s.milestones, s.gamma)


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


def identities(batch: int, num_instances: int, classes: int, cuts: int) -> int:
    """P of a batch of P × K (num_instances): as configured, if there are as many, a multiple of `cuts`."""
    wanted = batch // num_instances
    if wanted > classes:
        raise ReidError(
            f"train.batch {batch} is {wanted} identities of {num_instances} images, and there are {classes}: "
            f"at most {classes * num_instances}"
        )
    found = wanted // cuts * cuts
    if found < 2:
        raise ReidError(
            f"{classes} identities, {wanted} to a batch, cannot be cut into {cuts}: lower train.accumulate "
            "or the number of processes, or make train.batch larger"
        )
    if found < wanted:
        _log.warning("train: batches of %d identities instead of %d: %d to show, cut into %d",
                     found, wanted, classes, cuts)  # fmt: skip
    return found


def unlabelled(batch: int, cuts: int) -> int:
    """Images without labels to a batch: half as many as it has, 8 at least, a multiple of `cuts`."""
    return -(-max(8, batch // 2) // cuts) * cuts


def micro_batches(identities: int, num_instances: int, accumulate: int) -> list[int]:
    """Images that may go through the network at once, largest first: all of two identities or more."""
    cuts = [n for n in range(accumulate, max(accumulate, identities // 2) + 1) if identities % n == 0]
    return [identities // n * num_instances for n in cuts]


def frozen(train: Train, epoch: int, step: int, steps: int) -> bool:
    """Whether what `freeze` names is kept as it is in a step of an epoch of so many."""
    if train.freeze_steps is not None:
        return epoch * steps + step < train.freeze_steps
    return train.freeze_epochs is None or epoch < train.freeze_epochs


def _rates(train: Train) -> dict[str, float]:
    """By group of parameters, before the schedule."""
    rates = {"body": train.learning_rate, "head": train.head_learning_rate or train.learning_rate}
    return rates | {f"{name} biases": rate * train.bias_rate for name, rate in rates.items()}


def _losses(train: Train) -> list[Loss]:
    return [train.identity_loss, *([train.metric_loss] if train.metric_loss else []), *train.more_losses]
