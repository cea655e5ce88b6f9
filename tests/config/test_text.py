"""A field's value as text: each value comes back, and what is none is refused by name."""

from dataclasses import fields

import pytest

from pmsi.base.errors import ConfigError
from pmsi.config import TrainConfig, differences
from pmsi.config.presets import PRESETS
from pmsi.config.text import from_text, to_text

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
