"""What the first batch shows is what training puts into the network, to the pixel; a picture of it can be written."""

import pytest
import torch
from PIL import Image

from pmsi import training
from pmsi.batch import Phase, Target
from pmsi.data import open_dataset
from pmsi.firstbatch import Shown, first_batch, named, pictures, shown_in_phases
from pmsi.model.recognizer import Objective
from pmsi.runs import Run


class Enough(Exception):
    """The first batch is done."""


def trained_on(config, dataset, folder, monkeypatch):
    """What a training run really gives to the network in its first batch: (images, target, head) of each phase."""
    seen, shown = [], []
    forward, normalize, save = Objective.forward, training.normalize, training.Training._record_losses

    def watch(self, images, target, phase, heads=None):
        seen.append((shown[-1], target, phase.head))
        return forward(self, images, target, phase, heads)

    def remember(images):
        shown.append(images.clone())
        return normalize(images)

    def stop(self):
        raise Enough

    monkeypatch.setattr(Objective, "forward", watch)
    monkeypatch.setattr(training, "normalize", remember)
    monkeypatch.setattr(training.Training, "_record_losses", stop)
    with pytest.raises(Enough):
        training.Training(config, dataset, Run.create(folder, config)).fit()
    monkeypatch.setattr(training.Training, "_record_losses", save)
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
def test_it_shows_what_training_shows(tiny_config, tmp_path, cache_folder, monkeypatch, changes):
    config = tiny_config.with_(flip=True, trackers=(), **changes)
    dataset = open_dataset(config)
    expected = trained_on(config, dataset, tmp_path / "runs", monkeypatch)
    found = first_batch(config, dataset)
    assert len(found) == len(expected)
    for shown, (images, target, head) in zip(found, expected, strict=True):
        assert shown.phase.head == head
        assert torch.equal(shown.images, images)
        assert torch.equal(shown.target.label_a, target.label_a)
        assert torch.equal(shown.target.label_b, target.label_b)
        if not shown.weighs_by_model:
            assert torch.equal(shown.target.weight_a, target.weight_a)


def test_weights_that_depend_on_the_model_are_marked(tiny_config, cache_folder):
    config = tiny_config.with_(augmentation="snapmix")
    found = first_batch(config, open_dataset(config))
    assert [shown.weighs_by_model for shown in found] == [True, True, True, False]
    images, labels = found[-1].images, found[-1].target.label_a
    known = shown_in_phases(config, images, labels, attention=lambda: torch.ones(6, 64, 64))
    assert not any(shown.weighs_by_model for shown in known)


def test_an_image_is_named_by_the_classes_that_count():
    target = Target(
        torch.tensor([0, 1, 2]), torch.tensor([1, 1, 0]), torch.tensor([0.75, 0.5, 1.0]), torch.tensor([0.25, 0.5, 0.0])
    )
    shown = Shown(Phase("S3", 3), torch.zeros(3, 3, 4, 4, dtype=torch.uint8), target)
    names = ("ant", "bee", "cat")
    assert named(shown, names, 0) == [("ant", 0.75), ("bee", 0.25)]
    assert named(shown, names, 1) == [("bee", 1.0)], "mixed with one of its own class"
    assert named(shown, names, 2) == [("cat", 1.0)]


def test_pictures_keep_every_pixel():
    images = torch.arange(2 * 3 * 4 * 4, dtype=torch.uint8).view(2, 3, 4, 4)
    plain = Target.plain(torch.tensor([0, 1]))
    (first,) = pictures(Shown(Phase("S3", 3), images, plain), 1)
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
