"""Batches: what a crop may be, what a normalised pixel is, and that nothing depends on how images are read."""

import multiprocessing
import os
import signal

import numpy as np
import pytest
import torch
from PIL import Image

from pmsi.config import TrainConfig
from pmsi.data.loading import EvaluationLoader, TrainLoader
from pmsi.data.preprocessing import MEAN, STD, centre_crop, normalize, random_crop, resize, to_tensor

CONFIG = TrainConfig(image_size=32, resize=40, batch_size=6)


def test_normalize_by_its_definition(generator):
    images = torch.randint(0, 256, (2, 3, 5, 4), dtype=torch.uint8, generator=generator)
    out = normalize(images)
    for b, c, y, x in [(0, 0, 0, 0), (1, 2, 4, 3), (0, 1, 2, 2)]:
        expected = (images[b, c, y, x].item() / 255 - MEAN[c]) / STD[c]
        assert out[b, c, y, x].item() == pytest.approx(expected, abs=1e-6)
    assert out.dtype == torch.float32
    assert out.is_contiguous(memory_format=torch.channels_last)


def test_resizing_and_the_centre_crop_equal_torchvision_s():
    from pmsi.vision import functional

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


def test_to_tensor_moves_channels_first():
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert torch.equal(to_tensor(pixels)[:, 1, 2], torch.tensor(pixels[1, 2]))


def collected(loader):
    batches = list(loader)
    return torch.cat([images for images, _ in batches]), torch.cat([labels for _, labels in batches])


def test_an_epoch_shows_each_image_once_in_a_new_order(colour_dataset):
    loader = TrainLoader(colour_dataset, CONFIG.with_(batch_size=8))
    (first, labels), (second, _) = collected(loader.epoch(0)), collected(loader.epoch(1))
    assert len(first) == 32
    assert labels.bincount().tolist() == [8, 8, 8, 8]
    assert not torch.equal(first, second)
    assert torch.equal(collected(loader.epoch(0))[0], first)


def test_the_last_incomplete_batch_is_left_out(colour_dataset):
    loader = TrainLoader(colour_dataset, CONFIG)
    assert loader.batches == 5
    assert [len(images) for images, _ in loader.epoch(0)] == [6] * 5


def test_an_epoch_can_begin_at_any_batch(colour_dataset):
    loader = TrainLoader(colour_dataset, CONFIG)
    whole = list(loader.epoch(2))
    for first in range(5):
        rest = list(loader.epoch(2, first))
        assert len(rest) == 5 - first
        assert all(torch.equal(a[0], b[0]) for a, b in zip(whole[first:], rest, strict=True))


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(colour_dataset, workers):
    alone, many = TrainLoader(colour_dataset, CONFIG), TrainLoader(colour_dataset, CONFIG.with_(workers=workers))
    for epoch in range(2):
        pairs = zip(collected(alone.epoch(epoch)), collected(many.epoch(epoch)), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


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


def test_reading_draws_nothing_from_the_global_generator(colour_dataset):
    state = torch.get_rng_state()
    collected(TrainLoader(colour_dataset, CONFIG).epoch(0))
    assert torch.equal(state, torch.get_rng_state())
