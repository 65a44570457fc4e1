"""What is looked at before a run: here the sizes that cannot be, on small folders."""

from pathlib import Path

import pytest

from naic_reid import config, preflight
from naic_reid.artifacts import MadeBy
from naic_reid.data.labelled import Labelled
from naic_reid.data.layouts import Row
from naic_reid.errors import ReidError

TEXT = """
seed: 1
collect: {sources: [{name: a, list: a.txt, images: a}, {name: m, layout: market1501, folder: m}]}
models: {small: {backbone: resnet18, height: 128, width: 64, recipe: {batch: 20}}}
train: {num_instances: 4}
tests: {m: {layout: market1501, folder: m}}
rerank: {m: {}, holdout: {}}
"""


def test_a_batch_may_ask_for_as_many_identities_as_the_sources_name(tmp_path: Path) -> None:
    rows = [Row(f"{number}.jpg", "train", f"m/{number // 2}", "") for number in range(4)]
    rows.append(Row("q.jpg", "query", "m/7", ""))
    Labelled(tuple(rows), (1,) * len(rows), MadeBy()).write(tmp_path / "m.tsv")
    (tmp_path / "a.txt").write_bytes(b"x/1.png:7\r\n\ny 2.png 8\nz.png\t9 \nz2.png,9")
    settings = config.parse(TEXT, "c")
    preflight.batches_fit(settings, tmp_path, {"m": tmp_path / "m.tsv"})  # 3 and 2: five, and five are asked
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfx/1.png:7\ny 2.png 07\n9.png 8\n")
    with pytest.raises(
        ReidError, match=r"models.small: train.batch 20 is 5 identities .* name 4: at most 16"
    ):
        preflight.batches_fit(settings, tmp_path, {"m": tmp_path / "m.tsv"})


def test_scales_with_a_network_of_one_size_are_refused_before_it_is_trained() -> None:
    several = TEXT + "extract: {scales: [1, 1.1]}\n"
    for text, backbone in ((several, "resnet18"), (several, "timm/test_resnet"), (TEXT, "timm/test_vit")):
        preflight.scales_fit(config.parse(text.replace("resnet18", backbone), "c"))
    with pytest.raises(ReidError, match=r"extract\.scales: backbone timm/test_vit is built for .*128 × 64"):
        preflight.scales_fit(config.parse(several.replace("resnet18", "timm/test_vit"), "c"))


def test_what_is_no_file_is_found_wherever_it_lies(tmp_path: Path) -> None:
    (tmp_path / "results/toy").mkdir(parents=True)
    (tmp_path / "results/fuse").mkdir()
    for name in ("toy/pipe", "fuse/pipe"):
        preflight.os.mkfifo(tmp_path / "results" / name)
    (tmp_path / "results/fuse/gone.npz").symlink_to("nowhere")
    (tmp_path / "scratch").symlink_to("nowhere")
    folders = [tmp_path / name for name in ("results", "logs", "scratch")]
    with pytest.raises(ReidError) as error:
        preflight.folders_stand(folders, tmp_path / "results/toy")
    (one, other) = str(error.value).splitlines()[1:]
    assert one.endswith("results/fuse/pipe: is no file: move it away")
    assert other.endswith("scratch: is a link that leads nowhere, and a folder belongs here: move it away")


def test_what_a_config_names_is_looked_up_and_a_dry_run_fetches_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []
    monkeypatch.setattr(preflight, "located", lambda source, cache: Path(fetched.append(source) or "w.pth"))
    text = TEXT.replace("resnet18,", f"resnet18, pretrained: 'https://a/w.pth#sha256={'0' * 64}',")
    names = (tmp_path, tmp_path / "cache", tmp_path)
    assert preflight.given(config.parse(text, "c"), [], *names, fetch=False).weights == {}
    assert not fetched
    assert preflight.given(config.parse(text, "c"), [], *names).weights == {"small": Path("w.pth")}
    repeated = {length: config.parse(TEXT.replace("small", "a" * length), "c") for length in (19, 20)}
    preflight.given(repeated[19], [], *names)
    with pytest.raises(ReidError, match=r"models\.a{20}: repeats itself too often"):
        preflight.given(repeated[20], [], *names)
    table = tmp_path / "a{b}.csv"
    table.write_text("")
    worn = TEXT.replace("batch: 20", "batch: 20, attributes: {table: 'a{b}.csv'}")
    with pytest.raises(ReidError, match=r"a\{b\}\.csv: braces in the path"):
        preflight.given(config.parse(worn, "c"), [], *names)
