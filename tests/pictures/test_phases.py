"""Any batch as the network sees it: the very pixels that training passes on; pictures of it can be written."""

import numpy as np
import pytest
import torch
from PIL import Image

from pmsi.base.errors import ConfigError
from pmsi.config import TrainConfig
from pmsi.config.presets import PRESETS
from pmsi.data import open_dataset
from pmsi.model.batch import Phase, Target
from pmsi.model.recognizer import Objective
from pmsi.pictures.phases import (
    PhaseBatch,
    augment_by_phase,
    batch_by_phase,
    batch_keys,
    class_weights,
    phase_mosaic,
    place_of,
    recursions_of_stages,
    target_text,
)
from pmsi.runs import Run
from pmsi.training import loop, session


def trained_on(config, folder, monkeypatch):
    """Train, and return what the network was really given: (images as bytes, target, head) of each phase."""
    seen, shown = [], []
    forward, normalize = Objective.forward, loop.normalize

    def watch(self, images, target, phase, heads=None):
        seen.append((shown[-1], target, phase.head))
        return forward(self, images, target, phase, heads)

    def remember(images):
        shown.append(images.clone())
        return normalize(images)

    monkeypatch.setattr(Objective, "forward", watch)
    monkeypatch.setattr(loop, "normalize", remember)
    session.train(config, Run.create(folder, config))
    return seen


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"nested": True, "seed": 3, "method": "pr", "augmentation": "cutmix"},
        {"augmentation": "snapmix"},
        {"method": "api", "batch_size": 8, "train_per_class": 4},
    ],
    ids=lambda changes: "-".join(map(str, changes.values())) or "pmr",
)
def test_a_batch_is_what_training_shows_then_with_its_labels(changes, tiny_config, tmp_path, cache_folder, monkeypatch):
    config = tiny_config.with_(flip=True, epochs=2, evaluate_every=2, image_size=32, **changes)
    dataset, seen = open_dataset(config), trained_on(config, tmp_path / "runs", monkeypatch)
    batches, phases = len(batch_keys(config, dataset)), len(batch_by_phase(config, dataset))
    assert len(seen) == 2 * batches * phases
    for epoch, batch in ((0, 0), (0, batches - 1), (1, 1)):
        start = (epoch * batches + batch) * phases
        found = batch_by_phase(config, dataset, epoch, batch)
        for shown, (images, target, head) in zip(found, seen[start : start + phases], strict=True):
            assert shown.phase.head == head
            assert torch.equal(shown.images, images)
            assert torch.equal(shown.target.label_a, target.label_a)
            assert torch.equal(shown.target.label_b, target.label_b)
            assert shown.weights_need_model == (changes.get("augmentation") == "snapmix" and shown.phase.r > 0)
            if not shown.weights_need_model:
                assert torch.equal(shown.target.weight_a, target.weight_a)
    images, labels = found[-1].images, found[-1].target.label_a
    known = augment_by_phase(config, images, labels, attention=lambda: torch.ones(len(images), 32, 32))
    assert not any(shown.weights_need_model for shown in known)


def test_an_image_is_found_where_it_is_shown(tiny_config):
    dataset = open_dataset(tiny_config)
    keys = batch_keys(tiny_config, dataset, epoch=1)
    batch, place = place_of(keys[1][4], keys)
    assert (batch, place) == (1, 4)
    shown = batch_by_phase(tiny_config, dataset, 1, batch)
    wanted = next(sample for sample in dataset.train if sample.key == keys[1][4])
    assert int(shown[-1].target.label_a[place]) == wanted.label
    assert place_of(dataset.test[0].key, keys) is None
    for at in ((2, 0), (0, 99), (-1, 0), (0, -1)):
        with pytest.raises(ConfigError, match="2 epochs of 4 batches"):
            batch_by_phase(tiny_config, dataset, *at)


def test_an_image_is_named_by_the_classes_that_count():
    target = Target(
        torch.tensor([0, 1, 2]), torch.tensor([1, 1, 0]), torch.tensor([0.75, 0.5, 1.0]), torch.tensor([0.25, 0.5, 0.0])
    )
    shown = PhaseBatch(Phase("S3", 3), torch.zeros(3, 3, 4, 4, dtype=torch.uint8), target)
    names = ("ant", "bee", "cat")
    assert class_weights(shown, names, 0) == [("ant", 0.75), ("bee", 0.25)]
    assert class_weights(shown, names, 1) == [("bee", 1.0)], "mixed with one of its own class"
    assert class_weights(shown, names, 2) == [("cat", 1.0)]
    assert [target_text(shown, names, i) for i in range(3)] == ["75.0 % ant + 25.0 % bee", "bee", "cat"]
    unknown = PhaseBatch(shown.phase, shown.images, target, weights_need_model=True)
    assert target_text(unknown, names, 0) == "ant + bee"


def test_the_mosaic_of_a_phase_has_the_patches_of_its_recursions():
    config = TrainConfig(dataset="plumage", method="pmr", image_size=64)
    assert recursions_of_stages(config) == {"S3": 3, "S4": 2, "S5": 1, "concat": 0}
    pixels = np.arange(64 * 64 * 3, dtype=np.uint32).reshape(64, 64, 3) % 251
    picture = Image.fromarray(pixels.astype(np.uint8))
    for stage, patch in (("S3", 8), ("S4", 16), ("S5", 32)):
        cut = np.asarray(phase_mosaic(picture, config, stage, seed=1, key="a"))
        assert not np.array_equal(cut, np.asarray(picture))
        blocks, original = (
            {a[y : y + patch, x : x + patch].tobytes() for y in range(0, 64, patch) for x in range(0, 64, patch)}
            for a in (cut, np.asarray(picture))
        )
        assert blocks == original
    assert phase_mosaic(picture, config, "concat", seed=1, key="a") is None
    assert phase_mosaic(picture, config.with_(method="baseline"), "S5", seed=1, key="a") is None


# On the command line

SMALL = ["--preset", "quick", "--image-size", "64", "--train-per-class", "4", "--batch-size", "4", "--epochs", "2"]


def test_the_command_shows_any_batch(pmsi, tmp_path, cache_folder):
    out, runs = tmp_path / "batch.png", tmp_path / "runs"
    status, said, _ = pmsi("phases", *SMALL, "--epoch", 2, "--batch", 3, "--most", 3, "--out", out)
    config = PRESETS["quick"].config.with_(image_size=64, train_per_class=4, batch_size=4, epochs=2)
    dataset = open_dataset(config)
    expected = batch_by_phase(config, dataset, 1, 2)
    with Image.open(out) as whole:
        for y, x in np.ndindex(4, 3):
            found = whole.crop((72 * x, 72 * y, 72 * x + 64, 72 * y + 64))
            assert np.array_equal(np.asarray(found), expected[y].images[x].permute(1, 2, 0).numpy())
    lines = said.splitlines()
    assert (status, len(lines)) == (0, 1 + 4)
    names = ", ".join(dataset.classes[int(label)] for label in expected[0].target.label_a[:3])
    assert all(names in line and each.phase.head in line for line, each in zip(lines[1:], expected, strict=True))
    assert pmsi("train", *SMALL, "--first-batch", out, "--runs", runs) == (0, f"{out}\n", "")
    with Image.open(out) as written:
        assert written.size == (4 * 64 + 3 * 8, 4 * 64 + 3 * 8), "four phases of four images"
    assert not runs.exists()


def test_the_command_finds_an_image_in_the_batches_of_a_run(pmsi, tiny_config, tmp_path, cache_folder):
    run, out = Run.create(tmp_path / "runs", tiny_config.with_(seed=7)), tmp_path / "image.png"
    dataset = open_dataset(run.config)
    keys = batch_keys(run.config, dataset)
    status, said, _ = pmsi("phases", run.id, "--image", keys[2][4], "--out", out, "--runs", tmp_path / "runs")
    assert status == 0
    assert "epoch 1, batch 3, from image 5 on" in said
    expected = batch_by_phase(run.config, dataset, 0, 2)
    with Image.open(out) as whole:
        assert whole.width == 64
        for y in range(4):
            found = np.asarray(whole.crop((0, 72 * y, 64, 72 * y + 64)))
            assert np.array_equal(found, expected[y].images[4].permute(1, 2, 0).numpy())
    assert pmsi("phases", run.id, "--preset", "quick", "--out", out, "--runs", tmp_path / "runs")[0] == 2
