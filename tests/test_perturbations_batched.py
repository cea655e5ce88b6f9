"""Perturbations of a whole batch against the rows themselves, image by image, and against Pillow's own arithmetic."""

from itertools import permutations

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance

from pmsi.base.errors import ConfigError, ImageError
from pmsi.perturbations import PERTURBATIONS, draw
from pmsi.perturbations.batched import BATCHED, blend, luma, mean_level

SIZES = [(37, 53), (64, 48), (5, 7), (1, 1)]
ENHANCERS = {"brightness": ImageEnhance.Brightness, "contrast": ImageEnhance.Contrast, "saturation": ImageEnhance.Color}
COLOURS = [(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 0, 255), (1, 2, 3), (128, 128, 128)]


def pictures(height, width):
    """Seven images (7, h, w, 3): single colours, those at the ends of the range among them, and random ones."""
    generator = np.random.default_rng(height)
    images = generator.integers(0, 256, (7, height, width, 3), dtype=np.uint8)
    images[:3] = np.array(COLOURS, np.uint8)[generator.permutation(6)[:3], None, None]
    images[3, : height // 2], images[4, :, : width // 2] = 0, 255
    images[5] //= 64  # greys among nearly black
    return images


def batch_of(images):
    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())


def severities_of(row):
    return sorted({0.0, *row.levels, row.maximum, *(() if row.whole else (row.maximum / 3, 1e-3))})


def noise_of(form, factors, shape):
    return torch.stack([torch.from_numpy(form.noise(drawn, shape)) for drawn in factors])


def batched(name, images, severity, factors):
    """Return what the batch form makes of images (b, h, w, 3), again as (b, h, w, 3)."""
    form, given = BATCHED[name], batch_of(images)
    changed = form.apply(given, severity, factors, noise_of(form, factors, images.shape[1:3]))
    assert changed.dtype == torch.uint8
    assert changed.is_contiguous()
    assert torch.equal(given, batch_of(images))  # what was given is as it was
    return changed.permute(0, 2, 3, 1).numpy()


def one_by_one(name, images, severity, factors):
    pairs = zip(images, factors, strict=True)
    return np.stack([PERTURBATIONS[name].apply(image, severity, drawn) for image, drawn in pairs])


def drawn_for(name, severity, images, first=0):
    size = images.shape[2:0:-1]
    return [draw(name, severity, size, seed=1, key=str(first + i)) for i in range(len(images))]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", BATCHED)
def test_a_batch_has_the_pixels_of_its_images_one_by_one(name, size):
    images = pictures(*size)
    for severity in severities_of(PERTURBATIONS[name]):
        factors = drawn_for(name, severity, images)
        expected = one_by_one(name, images, severity, factors)
        assert np.array_equal(batched(name, images, severity, factors), expected)
        alone = batched(name, images[4:5], severity, factors[4:5])
        assert np.array_equal(alone, expected[4:5])


@pytest.mark.parametrize("colour", COLOURS, ids=str)
@pytest.mark.parametrize("name", BATCHED)
def test_images_of_one_colour_are_no_exception(name, colour):
    images = np.broadcast_to(np.array(colour, np.uint8), (7, 9, 11, 3)).copy()
    for severity in PERTURBATIONS[name].levels:
        factors = drawn_for(name, severity, images, first=7)
        expected = one_by_one(name, images, severity, factors)
        assert np.array_equal(batched(name, images, severity, factors), expected)


def test_a_large_image_is_summed_without_rounding():
    """Its mean is just under 254.5; in float32 the sum would be one more, and the mean go up."""
    images = np.full((2, 640, 448, 3), 254, np.uint8)
    images[:, :320], images[0, -1, -1] = 255, 253
    factors = [{"order": [*ENHANCERS], "brightness": 1.0, "contrast": 0.0, "saturation": 1.0}] * 2
    found = batched("color_jitter", images, 1.0, factors)
    assert found.max(axis=(1, 2, 3)).tolist() == found.min(axis=(1, 2, 3)).tolist() == [254, 255]
    assert np.array_equal(found, one_by_one("color_jitter", images, 1.0, factors))


# Colour jitter


@pytest.mark.parametrize("gains", [(0, 1, 2), (2, 0, 1), (1, 2, 0), (2, 2, 2), (0, 0, 0), (0.3, 1.7, 1.2)], ids=str)
def test_every_image_has_an_order_of_its_own(gains):
    images = pictures(23, 31)[1:]
    factors = [{"order": order, **dict(zip(ENHANCERS, gains, strict=True))} for order in permutations(ENHANCERS)]
    found = batched("color_jitter", images, 1.0, factors)
    for image, drawn, changed in zip(images, factors, found, strict=True):
        expected = Image.fromarray(image)
        for name in drawn["order"]:
            expected = ENHANCERS[name](expected).enhance(drawn[name])
        assert np.array_equal(changed, np.asarray(expected))


def test_blending_is_pillows_for_all_pairs_of_levels():
    first, second = np.mgrid[:256, :256].astype(np.uint8)
    pair = [torch.from_numpy(values)[None, None] for values in (first, second)]
    random = np.random.default_rng(0).uniform(0, 2, 120)
    for gain in (0, 1, 2, 0.5, 1.5, 1 / 3, 1 - 1e-7, 1 + 1e-7, 1e-9, *random):
        expected = Image.blend(Image.fromarray(first), Image.fromarray(second), float(gain))
        found = blend(pair[0].int(), pair[1], torch.tensor(float(gain)))
        assert np.array_equal(found[0, 0], np.asarray(expected))


def test_grey_levels_are_pillows_for_all_colours():
    for blue in range(0, 256, 5):
        levels = np.mgrid[:256, :256].astype(np.uint8)
        image = np.stack([*levels, np.full_like(levels[0], blue)], axis=2)
        assert np.array_equal(luma(batch_of(image[None]))[0, 0], np.asarray(Image.fromarray(image).convert("L")))


def test_a_mean_between_two_levels_goes_up_as_pillows_does():
    greys = np.stack([np.array([[3, 4], [4, 3]]), np.array([[3, 3], [4, 3]]), np.array([[255, 255], [255, 254]])])
    assert mean_level(torch.from_numpy(greys)[:, None].int()).flatten().tolist() == [4, 3, 255]


# What is refused


def test_severities_out_of_range_are_refused():
    form = BATCHED["c_brightness"]
    with pytest.raises(ConfigError, match="whole number from 0 to 5"):
        form.apply(batch_of(pictures(4, 4)), 2.5, [{}] * 7, torch.empty(7, 0))


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(2, 3, 4, 4),
        torch.zeros(3, 4, 4, dtype=torch.uint8),
        torch.zeros(2, 4, 4, 3, dtype=torch.uint8),
        torch.zeros(3, 3, 4, 4, dtype=torch.uint8),
    ],
    ids=lambda images: f"{images.dtype} {tuple(images.shape)}",
)
def test_only_8_bit_batches_with_factors_for_each_image_are_perturbed(images):
    with pytest.raises(ImageError, match=r"expected uint8 \(2, 3, height, width\)"):
        BATCHED["c_brightness"].apply(images, 1, [{}] * 2, torch.empty(2, 0))


def test_every_form_has_a_row_under_its_name():
    assert BATCHED.keys() < PERTURBATIONS.keys()
    assert all(form.name == name for name, form in BATCHED.items())
