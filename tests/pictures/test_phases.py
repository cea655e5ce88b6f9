"""Any batch as the network sees it: the very pixels that training passes on; pictures of it can be written."""

import numpy as np
import pytest
import torch
from PIL import Image

from pmsi.base.errors import ConfigError
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
    pictures,
    place_of,
    target_text,
)
from pmsi.runs import Run
from pmsi.training import loop, session

METHODS = {"pmr": {}, "pmg": {}, "pr": {"augmentation": "cutmix"}, "pm": {"augmentation": "rmg", "nested": True}}


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_is_what_training_shows_then(method, tiny_config, tmp_path, monkeypatch):
    config = tiny_config.with_(method=method, epochs=2, evaluate_every=2, **METHODS[method])
    dataset, seen = open_dataset(config), []
    real = loop.normalize
    monkeypatch.setattr(loop, "normalize", lambda images: (seen.append(images.clone()), real(images))[1])
    session.train(config, Run.create(tmp_path, config))
    batches, phases = len(batch_keys(config, dataset)), len(batch_by_phase(config, dataset))
    assert len(seen) == 2 * batches * phases
    for epoch, batch in ((0, 0), (0, batches - 1), (1, 1)):
        start = (epoch * batches + batch) * phases
        for shown, images in zip(
            batch_by_phase(config, dataset, epoch, batch), seen[start : start + phases], strict=True
        ):
            assert torch.equal(shown.images, images)


def test_an_image_is_found_where_it_is_shown(tiny_config):
    dataset = open_dataset(tiny_config)
    keys = batch_keys(tiny_config, dataset, epoch=1)
    batch, place = place_of(keys[1][4], keys)
    assert (batch, place) == (1, 4)
    shown = batch_by_phase(tiny_config, dataset, 1, batch)
    wanted = next(sample for sample in dataset.train if sample.key == keys[1][4])
    assert int(shown[-1].target.label_a[place]) == wanted.label
    assert place_of(dataset.test[0].key, keys) is None


@pytest.mark.parametrize("at", [(2, 0), (0, 99), (-1, 0), (0, -1)])
def test_a_batch_that_there_is_not_is_refused(at, tiny_config):
    with pytest.raises(ConfigError, match="This run has 2 epochs of 4 batches each"):
        batch_by_phase(tiny_config, open_dataset(tiny_config), *at)


class Enough(Exception):
    """The first batch is done."""


def trained_on(config, dataset, folder, monkeypatch):
    """What a training run really gives to the network in its first batch: (images, target, head) of each phase."""
    seen, shown = [], []
    forward, normalize, save = Objective.forward, loop.normalize, session.Training._record_losses

    def watch(self, images, target, phase, heads=None):
        seen.append((shown[-1], target, phase.head))
        return forward(self, images, target, phase, heads)

    def remember(images):
        shown.append(images.clone())
        return normalize(images)

    def stop(self):
        raise Enough

    monkeypatch.setattr(Objective, "forward", watch)
    monkeypatch.setattr(loop, "normalize", remember)
    monkeypatch.setattr(session.Training, "_record_losses", stop)
    with pytest.raises(Enough):
        session.Training(config, dataset, Run.create(folder, config)).fit()
    monkeypatch.setattr(session.Training, "_record_losses", save)
    return seen


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"nested": True, "seed": 3},
        {"augmentation": "cutmix"},
        {"augmentation": "snapmix"},
        {"method": "baseline"},
        {"method": "api", "batch_size": 8, "train_per_class": 4},
    ],
    ids=lambda changes: "-".join(map(str, changes.values())) or "pmr",
)
def test_the_first_batch_is_what_training_shows_with_its_labels(
    tiny_config, tmp_path, cache_folder, monkeypatch, changes
):
    config = tiny_config.with_(flip=True, trackers=(), **changes)
    dataset = open_dataset(config)
    expected = trained_on(config, dataset, tmp_path / "runs", monkeypatch)
    found = batch_by_phase(config, dataset)
    assert len(found) == len(expected)
    for shown, (images, target, head) in zip(found, expected, strict=True):
        assert shown.phase.head == head
        assert torch.equal(shown.images, images)
        assert torch.equal(shown.target.label_a, target.label_a)
        assert torch.equal(shown.target.label_b, target.label_b)
        if not shown.weights_need_model:
            assert torch.equal(shown.target.weight_a, target.weight_a)


def test_weights_that_depend_on_the_model_are_marked(tiny_config, cache_folder):
    config = tiny_config.with_(augmentation="snapmix")
    found = batch_by_phase(config, open_dataset(config))
    assert [shown.weights_need_model for shown in found] == [True, True, True, False]
    images, labels = found[-1].images, found[-1].target.label_a
    known = augment_by_phase(config, images, labels, attention=lambda: torch.ones(6, 64, 64))
    assert not any(shown.weights_need_model for shown in known)


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


def test_pictures_keep_every_pixel():
    images = torch.arange(2 * 3 * 4 * 4, dtype=torch.uint8).view(2, 3, 4, 4)
    plain = Target.plain(torch.tensor([0, 1]))
    (first,) = pictures(PhaseBatch(Phase("S3", 3), images, plain), 1)
    for y in range(4):
        for x in range(4):
            assert first.getpixel((x, y)) == tuple(images[0, :, y, x].tolist())


def test_the_command_writes_a_picture_and_starts_nothing(pmsi, tmp_path, cache_folder):
    words = ["--preset", "quick", "--image-size", "64", "--train-per-class", "4", "--batch-size", "4"]
    out, runs = tmp_path / "batch.png", tmp_path / "runs"
    status, said, _ = pmsi("train", *words, "--first-batch", out, "--runs", runs)
    assert (status, said.strip()) == (0, str(out))
    with Image.open(out) as written:
        assert written.size == (4 * 64 + 3 * 8, 4 * 64 + 3 * 8), "four phases of four images"
    assert not runs.exists()


# On the command line

SMALL = ["--preset", "quick", "--image-size", "64", "--train-per-class", "4", "--batch-size", "4", "--epochs", "2"]


def drawn(path, places, side=64):
    """The pictures of a sheet by (row, column), as arrays."""
    with Image.open(path) as whole:
        pixels = np.asarray(whole)
    step = side + 8
    return {(y, x): pixels[y * step : y * step + side, x * step : x * step + side] for y, x in places}


def test_the_command_shows_any_batch(pmsi, tmp_path, cache_folder):
    out = tmp_path / "batch.png"
    status, said, _ = pmsi("phases", *SMALL, "--epoch", 2, "--batch", 3, "--most", 3, "--out", out)
    config = PRESETS["quick"].config.with_(image_size=64, train_per_class=4, batch_size=4, epochs=2)
    dataset = open_dataset(config)
    expected = batch_by_phase(config, dataset, 1, 2)
    for (y, x), found in drawn(out, [(y, x) for y in range(4) for x in range(3)]).items():
        assert np.array_equal(found, expected[y].images[x].permute(1, 2, 0).numpy())
    lines = said.splitlines()
    assert status == 0
    assert lines[0].startswith(f"{out}: epoch 2, batch 3, ")
    names = ", ".join(dataset.classes[int(label)] for label in expected[0].target.label_a[:3])
    assert lines[1:] == [f"  {each.phase.head}, r = {each.phase.r}: {names}" for each in expected]


def test_the_command_finds_an_image_in_the_batches_of_a_run(pmsi, tiny_config, tmp_path, cache_folder):
    run, out = Run.create(tmp_path / "runs", tiny_config.with_(seed=7)), tmp_path / "image.png"
    dataset = open_dataset(run.config)
    keys = batch_keys(run.config, dataset)
    status, said, _ = pmsi("phases", run.id, "--image", keys[2][4], "--out", out, "--runs", tmp_path / "runs")
    assert (status, said.splitlines()[0]) == (0, f"{out}: epoch 1, batch 3, from image 5 on; from top to bottom")
    expected = batch_by_phase(run.config, dataset, 0, 2)
    for (y, _), found in drawn(out, [(y, 0) for y in range(4)]).items():
        assert np.array_equal(found, expected[y].images[4].permute(1, 2, 0).numpy())
    with Image.open(out) as whole:
        assert whole.width == 64


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--epoch", 3], "This run has 2 epochs of 12 batches each"),
        (["--batch", 13], "This run has 2 epochs of 12 batches each"),
        (["--image", "train/nobody/0000"], "comes in no batch of epoch 1"),
    ],
)
def test_the_command_refuses_what_there_is_not(words, said, pmsi, tmp_path, cache_folder):
    status, _, err = pmsi("phases", *SMALL, *words, "--out", tmp_path / "x.png")
    assert (status, err.count("\n")) == (2, 1)
    assert said in err


def test_the_command_takes_one_start(pmsi, tiny_config, tmp_path):
    run = Run.create(tmp_path, tiny_config)
    status, _, err = pmsi("phases", run.id, "--preset", "quick", "--out", tmp_path / "x.png", "--runs", tmp_path)
    assert (status, "give one of them" in err) == (2, True)
