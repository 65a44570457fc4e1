"""The config refuses what is wrong, all at once, with key and remedy."""

from pathlib import Path

import pytest
import yaml

from naic_reid import architecture, config
from naic_reid.config.section import section_in
from naic_reid.data import layouts
from naic_reid.errors import ReidError
from naic_reid.retrieval import protocols

GOOD = """
seed: 1
collect: {sources: [{name: a, list: a.txt, images: a}, {name: b, list: b.txt, images: b}]}
models: {small: {backbone: resnet18, height: 128, width: 64}}
rerank: {green: {k1: 30, k2: 2, lambda: 0.8}, normal: {}, holdout: {}}
"""


def refusal(text: str) -> str:
    with pytest.raises(ReidError) as caught:
        config.parse(text, "some.yaml")
    return str(caught.value)


def test_a_good_config_has_defaults_for_what_it_does_not_say() -> None:
    loaded = config.parse(GOOD, "some.yaml")
    assert loaded.rerank["green"].lambda_ == 0.8
    assert loaded.train.num_instances == 2
    assert loaded.domains == ("green", "normal", "holdout")


def test_all_problems_are_told_in_one_error_with_file_and_dotted_key() -> None:
    text = refusal(GOOD + "train: {epoks: 3, batch: many, schedule: {gama: 0.1}}\nfuse: {best: 0}")
    assert "some.yaml: wrong settings (4 in all)" in text
    for line in (
        "train.epoks: unknown key; did you mean epochs?",
        "train.batch: Input should be a valid integer, not 'many'",
        "train.schedule.gama: unknown key; did you mean gamma?",
        "fuse.best: Input should be greater than or equal to 1, not 0",
    ):
        assert line in text


@pytest.mark.parametrize(
    ("addition", "sentence"),
    [
        ("search: {keep: 30}", "search.keep 30 must be at least rerank.green.k1 + 1 = 31"),
        ("holdout: {share: 0}", "rerank.holdout is no domain of this config (green, normal)"),
        ("split: {rule: none}", "rerank has no entry for the domain all"),
        ("train: {batch: 7}", "batch 7 is not a multiple of num_instances 2"),
        ("ensemble: {epochs: [61]}", "ensemble.epochs [61] lie beyond train.epochs 60 of models."),
        ("dedupe: {wrong_label_sources: [c]}", "dedupe.wrong_label_sources ['c'] are not in collect.sources"),
        ("dedupe: {unite: 1}", "dedupe.unite: Input should be a valid boolean, not 1"),
        ("seed: 2", "the key 'seed' stands twice, again on line 6"),
        ("train: {learning_rate: 1e-3}", "YAML reads 1e-3 as text: write 1.0e-3"),
        ("train: {learning_rate: 5E-4}", "write 5.0e-4"),
        ("train: {learning_rate: .nan}", "train.learning_rate"),
        ("train: {learning_rate: -1.0}", "train.learning_rate: Input should be greater than 0"),
        ("fuse: {best: 0777}", "YAML reads 0777 as another number"),
        ("fuse: {best: 1_000}", "YAML reads 1_000 as another number"),
        ("fuse: {best: 3:20}", "YAML reads 3:20 as another number"),
        ("fuse: {best: 199}", "fuse.best 199: a submission lists 200"),
        ("ensemble: {epochs: [40, 50, 40]}", "[40] stand twice"),
        ("split: {query: /q}", "'/q' leaves the data folder"),
        ("split: {query: a/../../q}", "leaves the data folder"),
        ("split: {query: a, gallery: a/}", "query and gallery are one folder, 'a'"),
        ("search: {keep: 31}", None),
        ("train: {augment: {pad: 64}}", "pad 64 of models.small: it must be less than the shorter side, 64"),
        ("train: {augment: {pad: 63}}", None),
        ("train: {schedule: {milestones: [25, 60]}}", "milestones [60] (from 0) lie beyond train.epochs 60"),
        ("train: {schedule: {milestones: [25, 59]}}", None),
        ("train: {schedule: {warmup_epochs: 61}}", "warmup_epochs 61 reach beyond train.epochs 60"),
        ("train: {schedule: {kind: cosine, flat_epochs: 51}}", "flat_epochs 51 after warmup_epochs reach"),
        ("train: {schedule: {kind: cosine, flat_epochs: 50}}", None),
        ("train: {changes: [{epoch: 3}]}", "changes nothing: give learning_rate"),
        ("train: {changes: [{epoch: 61, clip: 1.0}]}", "changes in the epochs [61] lie beyond"),
        ("train: {changes: [{epoch: 3, clip: 1.0}, {epoch: 2, clip: 2.0}]}", "in the order of their epochs"),
        ("train: {changes: [{epoch: 3, clip: 1.0}, {epoch: 3, step: 2, precision: bf16}]}", None),
        ("train: {freeze: ['*']}", "nothing is trained"),
        ("train: {freeze: ['*'], freeze_epochs: 5}", None),
        ("train: {freeze_epochs: 5}", "freeze names nothing to keep"),
        ("train: {batch: 4000000}", "train.batch: Input should be less than or equal to 1048576"),
        ("search: {nprobe: 8}", "nprobe is a word of faiss-ivf, and engine is exact"),
        ("extract: {stripes_weight: 2.0}", "none of the models has stripes"),
        ("dedupe: {wrong_labels: w.txt}", "wrong_labels and wrong_label_sources go together"),
        ("extract: &e {flip: true}", None),
        ("extract: &e {flip: true}\nsearch: *e", "aliases (*name) are not supported"),
        ("extract: {flip: 2020-01-01}", "not a config"),
        ("extract: [", "not a config"),
        ("extract: !!python/object/apply:os.getcwd []", "not a config"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(addition: str, sentence: str | None) -> None:
    if sentence is None:
        config.parse(GOOD + addition, "some.yaml")
    else:
        assert sentence in refusal(GOOD + addition)


def test_two_models_that_are_the_same_network_are_refused() -> None:
    twice = GOOD.replace(
        "models: {", "models: {big: {backbone: resnet18, height: 128, width: 64, weight: 2.0}, "
    )
    assert "models.big and models.small are the same network" in refusal(twice)


def test_an_expanding_document_is_refused_before_it_expands() -> None:
    levels = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    for above, name in zip("abcdefgh", "bcdefghi", strict=True):
        levels.append(f"{name}: &{name} [{', '.join([f'*{above}'] * 9)}]")
    assert "aliases" in refusal("\n".join(levels))


def test_a_text_that_is_no_table_is_refused() -> None:
    for text in ("", "- a", "just words", "3"):
        assert "it must be a table of sections" in refusal(text)


def test_a_missing_or_binary_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    for name in ("nowhere.yaml", "binary.yaml"):
        with pytest.raises(ReidError, match=rf"{name}: cannot be read"):
            config.load(tmp_path / name)


def test_a_section_cannot_be_changed_after_loading() -> None:
    loaded = config.parse(GOOD, "some.yaml")
    with pytest.raises(ValueError, match="frozen"):
        loaded.train.epochs = 3  # type: ignore[misc]


def test_every_setting_has_a_description() -> None:
    def undescribed(kind: type[config.Section], place: str) -> list[str]:
        found = []
        for name, info in kind.model_fields.items():
            inner = section_in(info.annotation)
            if inner is None and not info.description:
                found.append(f"{place}{name}")
            if inner is not None:
                found += undescribed(inner, f"{place}{name}.")
        return found

    assert undescribed(config.Config, "") == []


def test_the_description_names_every_setting_with_its_default() -> None:
    text = config.describe()
    assert "lambda: [0.8]  weight of the original distance" in text
    assert "milestones: [[25, 40]]" in text


def test_the_order_of_models_in_the_file_means_nothing() -> None:
    two = GOOD.replace("models: {", "models: {wide: {backbone: resnet18, height: 128, width: 96}, ")
    assert list(config.parse(two, "some.yaml").models) == ["small", "wide"]


def with_recipe(words: str) -> str:
    return GOOD.replace("width: 64", f"width: 64, recipe: {words}")


def test_a_models_recipe_differs_in_the_words_it_gives() -> None:
    words = "{batch: 64, identity_loss: {name: linear}, augment: {flip: 0.0}, schedule: {kind: cosine}}"
    loaded = config.parse(with_recipe(words) + "train: {augment: {pad: 3}, epochs: 70}", "some.yaml")
    found = loaded.train.adapted(loaded.models["small"].recipe)
    shared = config.Train(epochs=70, augment=config.Augment(pad=3))
    assert found == shared.model_copy(
        update={
            "batch": 64,
            "identity_loss": config.Loss(name="linear"),
            "augment": shared.augment.model_copy(update={"flip": 0.0}),
            "schedule": shared.schedule.model_copy(update={"kind": "cosine"}),
        }
    )
    assert loaded.train == shared


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("{bacth: 64}", "bacth: unknown key; did you mean batch?"),
        ("{augment: {filp: 1}}", "augment.filp: unknown key; did you mean flip?"),
        ("{batch: 7}", "batch 7 is not a multiple of num_instances 2"),
        ("{epochs: 45}", "ensemble.epochs [50] lie beyond train.epochs 45 of models.small"),
        ("{augment: 3}", "augment: "),
    ],
)
def test_a_wrong_word_in_a_models_recipe_is_refused_with_the_models_name(words: str, sentence: str) -> None:
    text = refusal(with_recipe(words))
    assert sentence in text
    assert "models.small" in text


LABELLED = """
collect:
  sources: [{name: m, layout: market1501}, {name: v, layout: vehicleid, folder: cars, variant: large}]
tests: {m: {layout: market1501, multi_query: true}, cars: {layout: vehicleid, folder: cars, variant: small}}
holdout: {share: 0.1}
models: {small: {backbone: resnet18, height: 128, width: 64}}
rerank: {m: {}, cars: {}, holdout: {}}
"""


def test_labelled_tests_are_domains_with_the_protocol_of_their_layout_and_there_is_no_submission() -> None:
    loaded = config.parse(LABELLED, "some.yaml")
    assert loaded.split is None
    assert loaded.competition == ()
    assert loaded.domains == ("cars", "m", "holdout")
    assert loaded.protocols == {"cars": "vehicleid", "m": "market", "holdout": "market"}


def test_the_competition_and_labelled_tests_may_stand_in_one_config() -> None:
    both = LABELLED.replace("rerank: {", "split: {rule: none}\nrerank: {all: {}, ")
    loaded = config.parse(both, "some.yaml")
    assert (loaded.competition, loaded.domains) == (("all",), ("all", "cars", "m", "holdout"))


def test_partial_bodies_of_a_test_are_a_domain_under_its_protocol() -> None:
    cut = LABELLED.replace("rerank: {", "cut: {half: {of: cars}}\nrerank: {half: {}, ")
    loaded = config.parse(cut, "some.yaml")
    assert loaded.domains == ("cars", "m", "holdout", "half")
    assert loaded.protocols["half"] == "vehicleid"
    assert (loaded.cut["half"].side, loaded.cut["half"].keep) == ("legs", (0.5, 0.5))


def test_settings_of_labelled_data_are_in_no_record_of_a_config_without() -> None:
    loaded = config.parse(GOOD, "some.yaml")
    assert loaded.collect.sources[0].model_dump() == {"name": "a", "list": "a.txt", "images": "a"}
    assert "tests" not in loaded.model_dump() and "cut" not in loaded.model_dump()
    assert "benchmarks" not in loaded.dedupe.model_dump()


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ("layout: market1501}", "layout: market}", "unknown layout 'market'; near: market1501"),
        ("variant: large", "variant: huge", "vehicleid has no variant 'huge'; it has: small, medium, large"),
        ("folder: cars, variant: large", "folder: ../cars", "'../cars' leaves the data folder"),
        ("variant: large}", "list: a.txt}", "layout vehicleid has no list and no images"),
        ("{name: m, layout: market1501}", "{name: m}", "layout naic needs list and images"),
        ("multi_query: true", "protocol: markt", "unknown protocol 'markt'; there are naic, market"),
        ("m: {layout: market1501,", "m: {layout: naic,", "NAIC's test images have no labels"),
        ("variant: small", "pattern: (x)", "the layout vehicleid reads no file names"),
        ("multi_query: true", "pattern: '(?P<person>x)'", "needs named groups (?P<…>) for camera and person"),
        ("multi_query: true", "pattern: '('", "pattern '(' is no regular expression"),
        ("multi_query: true", "table: t.csv", "the layout market1501 reads no table"),
        ("tests: {m:", "tests: {holdout:", "tests.holdout: the name is that of another domain"),
        ("rerank: {m: {},", "rerank: {", "rerank has no entry for the domain m"),
        ("tests: {m:", "cut: {cars: {of: m}}\ntests: {m:", "cut.cars: the name is that of another domain"),
        (
            "tests: {m:",
            "cut: {a: {of: b}}\ntests: {m:",
            "b is no labelled test of this config (cars, m, holdout)",
        ),
        (
            "tests: {m:",
            "cut: {a: {of: m, keep: [1.0, 0.5]}}\ntests: {m:",
            "1, 0.5: the least share comes first",
        ),
        ("tests: {m:", "cut: {a: {of: m}}\ntests: {m:", "rerank has no entry for the domain a"),
    ],
)
def test_what_is_wrong_about_a_data_set_is_said_in_a_sentence(before: str, after: str, sentence: str) -> None:
    assert before in LABELLED
    assert sentence in refusal(LABELLED.replace(before, after))


def test_layouts_and_protocols_of_the_config_are_those_of_the_rooms() -> None:
    assert {
        name: (layout.variants, layout.protocol) for name, layout in layouts.LAYOUTS.items()
    } == config.LAYOUTS
    assert tuple(protocols.PROTOCOLS) == config.PROTOCOLS


def test_paths_have_one_spelling() -> None:
    found = config.parse(GOOD + "split: {query: ./a//q/, gallery: a/g/}", "some.yaml").split
    assert found is not None
    assert (found.query, found.gallery) == ("a/q", "a/g")


def test_the_networks_of_timm_are_known_without_importing_it() -> None:
    import timm

    assert set(timm.list_models()) <= architecture.timm_names()
    assert "timm has no 'resnet5O'; near: resnet50" in refusal(GOOD.replace("resnet18", "timm/resnet5O"))
    config.parse(GOOD.replace("resnet18", "timm/resnet50.a1_in1k"), "some.yaml")


def test_the_competition_reads_as_many_names_as_the_config_thinks() -> None:
    from naic_reid.artifacts.submission import MOST

    assert config.config.SUBMITTED == MOST


@pytest.mark.parametrize(
    ("words", "sentence"),
    [("k2: 1", "gathers from 2 neighbours"), ("k2: 7, power: 2", "power: words of method k_reciprocal")],
)
def test_words_of_another_method_of_re_ranking_are_refused(words: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        config.Rerank.model_validate({"method": "graph"} | yaml.safe_load("{" + words + "}"))
