"""Settings: defaults of the paper, checks that name what is wrong, JSON and flags in both directions."""

import argparse
import json
from dataclasses import fields
from pathlib import Path

import pytest

from pmsi.base.errors import ConfigError, UnknownName, lookup
from pmsi.choices import options_of
from pmsi.cli.flags import add_flags, to_config
from pmsi.config import CONFIGS, MapsConfig, RobustnessConfig, TrainConfig, differences, from_dict, from_json
from pmsi.config.presets import PRESETS
from pmsi.config.text import from_text, to_text


def test_defaults_are_those_of_the_paper_s_section_iv_a():
    config = TrainConfig()
    assert (config.image_size, config.resize_to) == (448, 512)
    assert (config.epochs, config.batch_size, config.frozen_epochs) == (150, 32, 5)
    assert (config.lr_pretrained, config.lr_new) == (1e-4, 1e-3)
    assert (config.momentum, config.weight_decay) == (0.9, 5e-4)
    assert (config.stage_num, config.method, config.backbone) == (3, "pmr", "mobilenet_v2")
    assert (config.concat_weight, config.mix, config.per_image, config.permutation) == (1.0, "logits", True, "uniform")


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("epochs", 0, "from 1 to"),
        ("epochs", 2.5, "whole number"),
        ("epochs", True, "whole number"),
        ("lr_new", -1.0, "at least 0"),
        ("lr_new", float("nan"), "a finite number"),
        ("flip", 1, "true or false"),
        ("mix", "sum", "one of logits, probabilities"),
        ("stage_num", 6, "from 1 to 5"),
        ("dataset", 5, "text"),
    ],
)
def test_a_bad_value_is_refused_with_its_field_its_value_and_what_was_expected(field, value, expected):
    with pytest.raises(ConfigError, match=rf"{field} = {value!r}: expected.*({expected})"):
        TrainConfig(**{field: value})
    with pytest.raises(ConfigError, match="resize = 200 is below image_size = 224"):
        TrainConfig(image_size=224, resize=200)


def test_whole_numbers_do_for_numbers_and_lists_for_tuples():
    assert TrainConfig(lr_new=1).lr_new == 1.0
    assert isinstance(TrainConfig(lr_new=1).lr_new, float)
    assert RobustnessConfig(of=["a", "b"], severities=[1, 2.5]).severities == (1.0, 2.5)
    with pytest.raises(ConfigError, match="expected a list of float"):
        RobustnessConfig(severities=1.0)


def test_json_brings_back_the_same_config():
    changed = [config(seed=3, workers=2) for config in CONFIGS.values()]
    for config in (*changed, *(preset.config for preset in PRESETS.values())):
        assert from_json(config.to_json()) == config


def test_damaged_and_foreign_json_is_refused():
    with pytest.raises(ConfigError, match="not a config"):
        from_json("{")
    with pytest.raises(ConfigError, match="found list"):
        from_json("[]")
    with pytest.raises(UnknownName, match=r"Unknown task 'trian'.*Did you mean 'train'"):
        from_dict({"task": "trian"})
    with pytest.raises(ConfigError, match=r"Unknown setting 'epoch'.*epochs"):
        from_json(json.dumps({"task": "train", "epoch": 3}))


def test_the_former_name_of_a_setting_is_still_read_and_still_a_flag():
    assert from_dict({"task": "maps", "trials_per_class": 5}) == MapsConfig(faithfulness_per_class=5)
    parser = argparse.ArgumentParser()
    add_flags(parser, MapsConfig)
    for name in ("--trials-per-class", "--faithfulness-per-class"):
        assert to_config(MapsConfig(), parser.parse_args([name, "5"])) == MapsConfig(faithfulness_per_class=5)


@pytest.mark.parametrize("config", [*CONFIGS.values()])
def test_every_field_says_what_it_is_and_its_default_is_among_its_options(config):
    for about in fields(config):
        assert about.metadata["help"].endswith((".", ")")), about.name
        assert about.metadata["group"]
        options = options_of(about)
        if options and about.default is not None:
            values = about.default if isinstance(about.default, tuple) else (about.default,)
            assert all(value in options for value in values), about.name


def test_paths_are_made_absolute_and_words_are_not(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    config = TrainConfig(dataset="cub", data="birds", weights="w.pth").located()
    assert (Path(config.data), Path(config.weights)) == (tmp_path / "birds", tmp_path / "w.pth")
    assert TrainConfig(weights="none").located() == TrainConfig(weights="none")


def test_lookup_suggests_the_nearest_name():
    with pytest.raises(UnknownName, match=r"'gren'.*'green'.*red, green"):
        lookup("colour", {"red": 1, "green": 2}, "gren")
    with pytest.raises(UnknownName, match="red"):
        lookup("colour", {"red": 1}, "xyz")


def test_an_older_config_of_a_folder_means_its_old_split() -> None:
    """Written before there was a choice, when the share of each class was drawn."""
    old = TrainConfig(dataset="folder", data="/a").to_dict()
    del old["split"]
    assert from_dict(old) == TrainConfig(dataset="folder", data="/a", split="stratified")
    assert from_dict(old | {"dataset": "cub"}).split == from_dict({"task": "train"}).split == "content"


# Values as text


OTHERS = [
    TrainConfig(),
    *(preset.config for preset in PRESETS.values()),
    TrainConfig(lr_new=0.1 + 0.2, flip=False, trackers=(), data="/a folder/ä", augmentation="none", channels=48),
]


@pytest.mark.parametrize("config", OTHERS, ids=range(len(OTHERS)))
def test_every_value_comes_back(config):
    texts = {about.name: to_text(getattr(config, about.name)) for about in fields(config)}
    assert all(isinstance(text, str) for text in texts.values())
    read = {name: from_text(TrainConfig, name, text) for name, text in texts.items()}
    assert not differences(TrainConfig(**read), config)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("resize", "default", None),
        ("epochs", "7", 7),
        ("lr_new", "1e-3", 0.001),
        ("nested", "Yes", True),
        ("nested", "0", False),
        ("augmentation", "none", "none"),
        ("weights", "default", "default"),
        ("trackers", "a, b", ("a", "b")),
    ],
)
def test_texts_that_people_write(name, text, value):
    assert from_text(TrainConfig, name, text) == value


@pytest.mark.parametrize(
    ("name", "text"), [("epochs", "2.5"), ("epochs", "default"), ("lr_new", "x"), ("flip", "maybe")]
)
def test_what_is_no_value_is_refused_with_the_name(name, text):
    with pytest.raises(ConfigError, match=f"{name} = '{text}'"):
        from_text(TrainConfig, name, text)
