"""The short-schedule recipe against torchreid's own loop: one network, one size, the same core-seconds.

    python benchmarks/peer.py --data MyDataSet --truth TRUTH.csv --results results [--seeds 0 1 2]

`--results` is a finished run of configs/quick.yaml on the data: its lists are read, its networks are not.
Both sides start EfficientNet-Lite0 from the same ImageNet weights, see images of 128 × 64 and train in one
thread for about `--seconds` of processor time, loading included; the seconds they took are printed.

The peer is written anew from torchreid's documentation: random batches of 32 through PIL and torchvision
(resize, mirror, normalise), average pooling, softmax with label smoothing, Adam with weight decay 5e-4 and
staged rates (classifier 5e-3, body 1e-3: what serves few epochs), cosine over the epochs, float32; the
features of one view are compared by cosine. Ours is the model `lite_small` of experiments.yaml through the
stages `train` and `extract`. Scores are those of `x223.py`, without re-ranking.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from torch import nn
from torchvision import transforms
from x223 import Scores, Truth, scores

from naic_reid import config
from naic_reid.artifacts import Features, ImageList
from naic_reid.models.weights import load_pretrained
from naic_reid.pretrained import located
from naic_reid.stages import extract, train

CONFIG = Path(__file__).parent / "experiments.yaml"
MODEL = "lite_small"
SIZE = 128, 64
BATCH = 32


class Peer(nn.Module):
    """Network, average pooling and classifier; in evaluation the pooled features."""

    def __init__(self, pretrained: Path, num_classes: int) -> None:
        super().__init__()
        self.body = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0)
        load_pretrained(self.body, pretrained)
        self.classifier = nn.Linear(self.body.num_features, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.body(images)
        return self.classifier(features) if self.training else features


def peer(seed: int, seconds: float, data: Path, images: ImageList, pretrained: Path) -> Peer:
    """Trained for as many whole epochs as fit, by the time that the first steps take."""
    torch.manual_seed(seed)
    look = transforms.Compose([transforms.Resize(SIZE), transforms.RandomHorizontalFlip(), *_TO_TENSOR])
    classes = sorted(set(images.identities))
    labels = torch.tensor([classes.index(identity) for identity in images.identities])
    net = Peer(pretrained, len(classes))
    groups = [
        {"params": net.body.parameters(), "lr": 1e-3},
        {"params": net.classifier.parameters(), "lr": 5e-3},
    ]
    optimizer = torch.optim.Adam(groups, weight_decay=5e-4)
    judge = nn.CrossEntropyLoss(label_smoothing=0.1)
    steps = len(labels) // BATCH

    def epoch(limit: int) -> None:
        net.train()
        for chosen in torch.randperm(len(labels)).split(BATCH)[:limit]:
            batch = torch.stack([look(_opened(data / images.paths[i])) for i in chosen])
            loss = judge(net(batch), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    at_start = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    begun = time.process_time()
    epoch(4)
    epochs = int(seconds / (time.process_time() - begun) * 4 / steps)
    net.load_state_dict(at_start)
    optimizer.state.clear()
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        epoch(steps)
        schedule.step()
    print(f"  peer: {epochs} epochs", end="")
    return net.eval()


_TO_TENSOR = [
    transforms.ToTensor(),
    transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
]


def _opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


@torch.inference_mode()
def features_of_peer(net: Peer, paths: list[Path]) -> np.ndarray:
    look = transforms.Compose([transforms.Resize(SIZE), *_TO_TENSOR])
    batches = [paths[start : start + BATCH] for start in range(0, len(paths), BATCH)]
    rows = torch.cat([net(torch.stack([look(_opened(path)) for path in batch])) for batch in batches])
    return nn.functional.normalize(rows).numpy()


def ours(
    seed: int, recipe: config.Train, model: config.Model, data: Path, listed: Path, folder: Path
) -> Path:
    """The checkpoint after the last epoch."""
    checkpoint = folder / f"{seed}.pt"
    adapted = recipe.adapted(model.recipe)
    last = config.Ensemble(epochs=(adapted.epochs,))
    pretrained = [located(model.pretrained, Path("cache"))] if model.pretrained else []
    worn = [data / adapted.attributes.table] if adapted.attributes else []
    train.run(
        seed, recipe, model, last, data=data, scratch=folder, images=listed, unlabelled=[],
        pretrained=pretrained, attributes=worn, checkpoints=[checkpoint],
        history=folder / f"{seed}.jsonl", threads=1,
    )  # fmt: skip
    return checkpoint


def features_of_ours(checkpoint: Path, data: Path, truth: Truth, folder: Path) -> np.ndarray:
    """All test images as one list."""
    paths = sorted(_path(name, is_query) for name, is_query in zip(truth.names, truth.is_query, strict=True))
    listed, rows = folder / "test.tsv", folder / f"{checkpoint.stem}.npz"
    ImageList(tuple(paths), ("",) * len(paths)).write(listed)
    extract.run(
        config.load(CONFIG).extract,
        data=data,
        images=[listed],
        checkpoint=checkpoint,
        features=[rows],
        threads=1,
    )
    found = dict(zip(paths, Features.read(rows).values, strict=True))
    return np.stack([found[_path(n, q)] for n, q in zip(truth.names, truth.is_query, strict=True)])


def _path(name: str, is_query: bool) -> str:
    return f"image_B_v1_1/{'query' if is_query else 'gallery'}/{name}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--truth", type=Path, required=True, help="CSV: subset,name,pid,camid")
    parser.add_argument("--results", type=Path, default=Path("results"), help="of a run of quick.yaml")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--seconds", type=float, default=250, help="of one core, for the peer's training")
    parser.add_argument("--epochs", type=int, default=20, help="of ours: what fits into these seconds")
    options = parser.parse_args()
    torch.set_num_threads(1)
    truth = Truth.read(options.truth)
    listed = options.results / "holdout" / "train.tsv"
    images = ImageList.read(listed)
    settings = config.load(CONFIG)
    model, recipe = settings.models[MODEL], settings.train.model_copy(update={"epochs": options.epochs})
    assert (model.height, model.width) == SIZE
    pretrained = located(model.pretrained or "", Path("cache"))
    paths = [options.data / _path(n, q) for n, q in zip(truth.names, truth.is_query, strict=True)]
    table = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for seed in options.seeds:
            begun = time.process_time()
            net = peer(seed, options.seconds, options.data, images, pretrained)
            theirs = scores([features_of_peer(net, paths)], [1.0], truth, None)
            middle = time.process_time()
            print(_line(middle - begun, theirs), flush=True)
            print(f"  ours: {options.epochs} epochs", end="")
            checkpoint = ours(seed, recipe, model, options.data, listed, folder)
            found = scores([features_of_ours(checkpoint, options.data, truth, folder)], [1.0], truth, None)
            took = time.process_time() - middle
            print(_line(took, found), flush=True)
            table.append((theirs, found))
    for side, found in zip(("peer", "ours"), zip(*table, strict=True), strict=True):
        print(f"mean of {len(table)}: {side}{_told(Scores(*np.mean(found, axis=0)))}")
    gains = [mine.x223 - other.x223 for other, mine in table]
    print(f"ours less peer, X223, seed by seed: {', '.join(f'{gain:+.1f}' for gain in gains)}")


def _line(seconds: float, found: Scores) -> str:
    return f", {seconds:.0f} core-seconds{_told(found)}"


def _told(found: Scores) -> str:
    return f", pooled {found.pooled:.1f}, X223 R1 {found.rank1:.1f} mAP {found.x223:.1f}"


if __name__ == "__main__":
    main()
