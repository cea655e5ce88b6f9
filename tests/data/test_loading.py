"""Batches: what a crop may be, what a normalised pixel is, and that nothing depends on how images are read."""

import multiprocessing
import os
import signal
from collections import Counter

import numpy as np
import pytest
import torch
from photos import photo
from PIL import Image

from pmsi.base.errors import ConfigError
from pmsi.base.seeding import derive
from pmsi.config import TrainConfig
from pmsi.data import preprocessing
from pmsi.data.cache import pixels
from pmsi.data.checking import open_sample
from pmsi.data.dataset import Dataset, Sample
from pmsi.data.loading import EvaluationLoader, TrainLoader, batch_loader
from pmsi.data.preprocessing import MEAN, STD, centre_crop, normalize, random_crop, resize, to_tensor
from pmsi.data.sampling import balanced, check_balanced, sampler, shuffled

CONFIG = TrainConfig(image_size=32, resize=40, batch_size=6)


def test_normalize_by_its_definition_and_its_slope_also_where_it_was_first_used_in_inference(generator):
    preprocessing._constants.cache_clear()
    images = torch.randint(0, 256, (2, 3, 5, 4), dtype=torch.uint8, generator=generator)
    with torch.inference_mode():
        out = normalize(images)
    for b, c, y, x in [(0, 0, 0, 0), (1, 2, 4, 3), (0, 1, 2, 2)]:
        expected = (images[b, c, y, x].item() / 255 - MEAN[c]) / STD[c]
        assert out[b, c, y, x].item() == pytest.approx(expected, abs=1e-6)
    assert out.dtype == torch.float32
    assert out.is_contiguous(memory_format=torch.channels_last)
    x = images.float().requires_grad_()
    normalize(x).sum().backward()
    torch.testing.assert_close(x.grad, torch.tensor([1 / (255 * s) for s in STD]).view(1, 3, 1, 1).expand_as(x))


def test_resizing_and_the_centre_crop_equal_torchvision_s():
    from pmsi.base.vision import functional

    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (60, 90, 3), dtype=np.uint8))
    resized = functional.resize(image, [40, 40])
    assert np.array_equal(resize(image, 40), np.asarray(resized))
    assert np.array_equal(centre_crop(resize(image, 40), 32), np.asarray(functional.center_crop(resized, [32, 32])))


def test_random_crops_are_windows_of_the_image_every_place_and_both_ways():
    pixels = np.arange(10 * 10 * 3).reshape(10, 10, 3)
    seen = set()
    for key in range(400):
        crop = random_crop(pixels, 8, True, "seed", key)
        flipped = crop[0, 0, 0] > crop[0, -1, 0]
        window = crop[:, ::-1] if flipped else crop
        top, left = divmod(int(window[0, 0, 0]) // 3, 10)
        assert np.array_equal(window, pixels[top : top + 8, left : left + 8])
        seen.add((top, left, bool(flipped)))
    assert seen == {(top, left, flip) for top in range(3) for left in range(3) for flip in (False, True)}
    unflipped = [random_crop(pixels, 8, False, key) for key in range(50)]
    assert all(crop[0, 0, 0] < crop[0, -1, 0] for crop in unflipped)


def collected(loader):
    batches = list(loader)
    return torch.cat([images for images, _ in batches]), torch.cat([labels for _, labels in batches])


def test_an_epoch_shows_each_image_once_in_a_new_order_of_its_own(colour_dataset):
    state = torch.get_rng_state()
    loader = TrainLoader(colour_dataset, CONFIG.with_(batch_size=8))
    (first, labels), (second, _) = collected(loader.epoch(0)), collected(loader.epoch(1))
    assert len(first) == 32
    assert labels.bincount().tolist() == [8, 8, 8, 8]
    assert not torch.equal(first, second)
    assert torch.equal(collected(loader.epoch(0))[0], first)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("images_per_class", [None, 4])
def test_an_epoch_can_begin_at_any_batch(colour_dataset, images_per_class):
    config, truth = CONFIG.with_(batch_size=8), [sample.label for sample in colour_dataset.train]
    loader = TrainLoader(colour_dataset, config, images_per_class=images_per_class)
    drawn = balanced(truth, 8, 4, config.seed, 2) if images_per_class else shuffled(32, 8, config.seed, 2)
    whole = list(loader.epoch(2))
    assert [labels.tolist() for _, labels in whole] == [[truth[item] for item in batch] for batch in drawn]
    assert loader.batches == len(whole) == 4
    for first in range(5):
        rest = list(loader.epoch(2, first))
        assert len(rest) == 4 - first
        assert all(torch.equal(a[0], b[0]) for a, b in zip(whole[first:], rest, strict=True))


@pytest.fixture
def files(tmp_path):
    """A data set of files, six to train on and four to test on."""
    paths = [photo(tmp_path / f"{number}.png", (60, 50)) for number in range(10)]
    samples = tuple(Sample(path.stem, number % 2, path) for number, path in enumerate(paths))
    return Dataset("noise", ("even", "odd"), samples[:6], samples[6:], open_sample)


def test_neither_workers_nor_images_kept_by_earlier_runs_change_anything(files, monkeypatch):
    def read(workers):
        config = CONFIG.with_(batch_size=3, workers=workers)
        train, test = TrainLoader(files, config), EvaluationLoader(files, files.test, config, 3, workers)
        return [collected(loader) for loader in (train.epoch(0), train.epoch(1), test)]

    with monkeypatch.context() as patch:
        patch.setenv("PMSI_CACHE", "/dev/null")
        decoded = read(0)
    monkeypatch.setattr(pixels, "SETTLED_S", 0)
    first = read(2)
    monkeypatch.setattr(Image.Image, "resize", None)  # from here on, all comes from what was kept
    for kept in (first, read(0), read(2)):
        assert all(torch.equal(a, b) for pair in zip(decoded, kept, strict=True) for a, b in zip(*pair, strict=True))


def test_an_interrupt_of_the_whole_terminal_leaves_the_workers_reading(colour_dataset):
    """Ctrl-C goes to all processes of a terminal; the one that trains stops, and until then its readers must live."""
    loader = TrainLoader(colour_dataset, CONFIG.with_(workers=1))
    batches = loader.epoch(0)
    next(batches)
    for worker in multiprocessing.active_children():
        os.kill(worker.pid, signal.SIGINT)
    assert len(list(batches)) == 4
    assert len(list(loader.epoch(1))) == 5


@pytest.mark.parametrize("batch_size", [1, 5, 100])
def test_test_images_come_in_order_whatever_the_batch_size(colour_dataset, batch_size):
    images, labels = collected(EvaluationLoader(colour_dataset, colour_dataset.test, CONFIG, batch_size))
    assert labels.tolist() == [sample.label for sample in colour_dataset.test]
    for image, sample in zip(images, colour_dataset.test, strict=True):
        expected = centre_crop(resize(colour_dataset.open_image(sample), 40), 32)
        assert torch.equal(image, to_tensor(expected))


@pytest.mark.parametrize("here", [True, False])
def test_memory_is_pinned_for_the_device_that_is_used_not_for_one_that_is_there(colour_dataset, monkeypatch, here):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: here)
    for device in (torch.device("cpu"), torch.device("cuda"), torch.device("cuda", 1)):
        assert batch_loader(colour_dataset, [], 0, device).pin_memory == (device.type == "cuda")


# Which items a batch holds


LABELS = [0] * 9 + [2] * 4 + [1] * 6 + [4] * 5 + [3] * 3


def test_shuffled_shows_each_item_once_and_leaves_out_what_fills_no_batch():
    """By the rule that old checkpoints were trained on: a permutation seeded by ("shuffle", seed, epoch), cut."""
    order = np.random.default_rng(derive("shuffle", 3, 7)).permutation(22)
    assert shuffled(22, 5, 3, 7) == [order[i : i + 5].tolist() for i in (0, 5, 10, 15)]
    assert len(shuffled(20, 5, 0, 0)) == 4
    left_out = {frozenset(range(22)) - {i for batch in shuffled(22, 5, 0, epoch) for i in batch} for epoch in range(9)}
    assert len(left_out) > 1


@pytest.mark.parametrize(("batch_size", "images_per_class"), [(8, 4), (6, 3), (6, 2), (20, 4)])
def test_a_balanced_batch_holds_so_many_images_of_each_of_its_classes(batch_size, images_per_class):
    """They stand together, so that equal shares of a batch keep their pairs."""
    for epoch in range(3):
        batches = balanced(LABELS, batch_size, images_per_class, 0, epoch)
        assert len(batches) == 27 // batch_size
        for batch in batches:
            classes = set()
            for start in range(0, batch_size, images_per_class):
                items = batch[start : start + images_per_class]
                (label,) = {LABELS[item] for item in items}
                assert len(set(items)) == min(images_per_class, LABELS.count(label))
                classes.add(label)
            assert len(classes) == batch_size // images_per_class


@pytest.mark.parametrize("images_per_class", [2, 3, 4])
def test_every_image_of_a_class_is_dealt_before_one_comes_again(images_per_class):
    """Seven images, dealt a few at a time in each of many batches: no batch has one twice, and none falls behind."""
    labels, seen = [0] * 200 + [1] * 7, Counter(dict.fromkeys(range(200, 207), 0))
    for batch in balanced(labels, 2 * images_per_class, images_per_class, 5, 1):
        dealt = [item for item in batch if labels[item] == 1]
        assert len(set(dealt)) == images_per_class
        seen.update(dealt)
        assert max(seen.values()) - min(seen.values()) <= 1
    assert min(seen.values()) > 10


def test_all_classes_have_their_turn_and_balanced_draws_depend_on_seed_and_epoch_alone():
    draws = {(seed, epoch): balanced(LABELS, 8, 4, seed, epoch) for seed in range(3) for epoch in range(10)}
    seen = {LABELS[item] for batches in draws.values() for batch in batches for item in batch}
    assert seen == set(range(5))
    assert len({str(batches) for batches in draws.values()}) == len(draws)
    assert balanced(LABELS, 8, 4, 2, 9) == draws[2, 9]


@pytest.mark.parametrize(
    ("labels", "batch_size", "message"),
    [
        ([0, 0, 1, 1, 1], 12, r"batch_size = 12 .* asks for 3 classes .* only 2 have .* Lower batch_size to 8 or less"),
        ([0, 0, 1, 2, 2], 8, r"Class 'wren' has one training image.*pairs"),
        ([0, 0, 1, 1, 2, 2], 10, r"batch_size = 10.*must be a multiple of 4"),
    ],
)
def test_labels_that_allow_no_balanced_batches_are_refused_by_number_and_name(labels, batch_size, message):
    with pytest.raises(ConfigError, match=message):
        sampler(labels, ("crow", "wren", "swift", "tern"), batch_size, 4)
    sampler(labels, ("crow", "wren", "swift", "tern"), batch_size, None)
    check_balanced([0, 0, 2, 2], ("crow", "wren", "swift"), 8, 4)  # a class without images is no obstacle
