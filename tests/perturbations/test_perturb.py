"""Perturbations against torchvision, against their own arithmetic pixel by pixel, and against their promise of pixels
that depend on (perturbation, severity, seed, image) alone."""

import json
import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pmsi.base.errors import ConfigError, ImageError, PMSIError, UnknownName
from pmsi.perturbations import PERTURBATIONS, by_effect, draw, perturb, pixel_hash, severities_of

NOISES = ("gaussian_noise", "gaussian_noise_mono", "gaussian_noise_legacy")
DRAWING = [name for name, row in PERTURBATIONS.items() if draw(name, row.levels[-1], (8, 8), seed=0, key="")]


def picture(height=37, width=53, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    pixels[:4], pixels[4:8] = 0, 255  # the ends of the range, where clipping and wrapping show
    return Image.fromarray(pixels)


def pixels_of(image):
    return np.asarray(image).astype(int)


def test_each_row_s_levels_rise_and_hold_the_paper_s():
    assert {name for name, row in PERTURBATIONS.items() if row.paper} == {"color_jitter", *NOISES}
    for row in PERTURBATIONS.values():
        assert 0 < row.levels[0] < row.levels[-1] <= row.maximum
        assert sorted(row.levels) == [row.check(level) for level in row.levels]
        assert row.paper == 0 or row.paper in row.levels
    drawn = {json.dumps(draw(name, PERTURBATIONS[name].levels[-1], (8, 8), seed=0, key="a")) for name in DRAWING}
    assert len(drawn) == len(DRAWING) == 17, "each row draws apart"


@pytest.mark.parametrize("name", DRAWING)
def test_the_draw_depends_on_the_four_names_alone(name):
    image, (*_, other, severity) = picture(), PERTURBATIONS[name].levels
    first = perturb(image, name, severity, seed=7, key="bird/1.jpg")
    np.random.default_rng(0).random(5)
    with ThreadPoolExecutor(4) as pool:
        again = list(pool.map(lambda _: perturb(image, name, severity, seed=7, key="bird/1.jpg"), range(8)))
    assert all(factors == first[1] and changed.tobytes() == first[0].tobytes() for changed, factors in again)
    others = [
        perturb(image, name, severity, seed=8, key="bird/1.jpg"),
        perturb(image, name, severity, seed=7, key="bird/2.jpg"),
        perturb(image, name, other, seed=7, key="bird/1.jpg"),
    ]
    assert len({json.dumps(factors) for _, factors in (first, *others)}) == 4
    assert perturb(image, name, np.float64(severity), seed=7, key="bird/1.jpg")[1] == first[1]


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_every_level_but_0_changes_pixels_and_stored_factors_replay_them(name):
    image, row = picture(), PERTURBATIONS[name]
    for severity in (0, *row.levels):
        changed, factors = perturb(image, name, severity, seed=1, key="a")
        assert changed is not image
        assert (changed.mode, changed.size) == ("RGB", image.size)
        assert np.array_equal(pixels_of(changed), pixels_of(image)) == (severity == 0)
    assert np.array_equal(pixels_of(image), pixels_of(picture()))
    stored = json.loads(json.dumps(factors))
    assert stored == factors == draw(name, severity, image.size, seed=1, key="a")
    assert row.apply(image, severity, stored).tobytes() == changed.tobytes()
    array = row.apply(np.asarray(image), severity, stored)
    assert (array.dtype, array.shape, array.flags.c_contiguous) == (np.uint8, (37, 53, 3), True)
    assert array.tobytes() == changed.tobytes()


UNEVEN = {"glass_blur", "snow", "frost", "fog", "elastic_transform", "spatter", "saturate"}
"""Corruptions whose published constants do not change more and more of an image."""


@pytest.mark.parametrize("name", [name for name in PERTURBATIONS if name.removeprefix("c_") not in UNEVEN])
def test_one_draw_scaled_changes_more_and_more(name):
    y, x = np.mgrid[:48, :48]
    image = np.stack([128 + 90 * np.sin(x / 9), 128 + 80 * np.cos(y / 7 + x / 20), 2.0 * (x + y)], 2).astype(np.uint8)
    for seed in range(4):
        rising = [
            perturb(image, name, severity, seed=seed, key="a", drawn_at=PERTURBATIONS[name].levels[1])[0]
            for severity in (0, *PERTURBATIONS[name].levels)
        ]
        far = [((one - image.astype(float)) ** 2).sum() for one in rising]
        assert far == sorted(far)


def test_effects_hold_each_row_once():
    assert sorted(name for names in by_effect().values() for name in names) == sorted(PERTURBATIONS)
    assert by_effect(["jpeg", "gone", "color_jitter"]) == {"Light": ["color_jitter"], "Compression": ["jpeg"]}


def hashes():
    """Return by row the hash of the pixels at its middle severity."""
    middle = {name: row.levels[len(row.levels) // 2] for name, row in PERTURBATIONS.items()}
    shown = {name: perturb(picture(), name, severity, seed=2, key="b")[0] for name, severity in middle.items()}
    return {name: pixel_hash(image) for name, image in shown.items()}


def test_another_process_shows_the_same_pixels():
    """Whatever it computed before, and in whatever order."""
    code = "import test_perturb as t, json; t.hashes(); print(json.dumps(t.hashes()))"
    tests = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": f"{tests}:{tests.parents[1]}", "PYTHONHASHSEED": "1"}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert json.loads(found.stdout) == hashes()
    assert len(set(hashes().values())) == len(PERTURBATIONS)


# Colour jitter


def test_jitter_has_the_arithmetic_of_torchvision():
    from pmsi.base.vision import functional  # with torch, which the other process above does without

    adjust = {
        "brightness": functional.adjust_brightness,
        "contrast": functional.adjust_contrast,
        "saturation": functional.adjust_saturation,
    }
    for key in range(12):
        changed, factors = perturb(picture(), "color_jitter", 1.0, seed=0, key=str(key))
        expected = picture()
        for name in factors["order"]:
            expected = adjust[name](expected, factors[name])
        assert changed.tobytes() == expected.tobytes()


@pytest.mark.parametrize("k", [0.25, 1.0])
def test_jitter_draws_every_order_and_the_whole_range(k):
    drawn = [draw("color_jitter", k, (8, 8), seed=0, key=str(key)) for key in range(600)]
    orders = [tuple(factors["order"]) for factors in drawn]
    assert {tuple(sorted(order)) for order in orders} == {("brightness", "contrast", "saturation")}
    assert len(set(orders)) == 6
    assert min(map(orders.count, orders)) > 60  # 100 each on average
    for name in ("brightness", "contrast", "saturation"):
        values = np.array([factors[name] for factors in drawn])
        assert 1 - k <= values.min() < 1 - 0.97 * k
        assert 1 + 0.97 * k < values.max() <= 1 + k
        assert values.mean() == pytest.approx(1, abs=0.08 * k)
        assert values.std() == pytest.approx(2 * k / math.sqrt(12), rel=0.08)
    pairs = np.corrcoef([[factors[name] for name in ("brightness", "contrast")] for factors in drawn], rowvar=False)
    assert abs(pairs[0, 1]) < 0.15


# Gaussian noise


def grey(level=128, side=200):
    return Image.new("RGB", (side, side), (level, level, level))


@pytest.mark.parametrize("sigma", [5.0, 20.0])
def test_noise_has_the_deviation_asked_for(sigma):
    noise = pixels_of(perturb(grey(), "gaussian_noise", sigma, seed=0, key="a")[0]) - 128
    assert noise.mean() == pytest.approx(0, abs=0.03 * sigma)
    assert noise.std() == pytest.approx(math.sqrt(sigma**2 + 1 / 12), rel=0.01)  # 1/12 is the rounding's
    channels = np.corrcoef(noise.reshape(-1, 3), rowvar=False)
    assert np.abs(channels - np.eye(3)).max() < 0.03
    assert abs(np.corrcoef(noise[:, :-1].ravel(), noise[:, 1:].ravel())[0, 1]) < 0.03
    mono = pixels_of(perturb(grey(), "gaussian_noise_mono", sigma, seed=0, key="a")[0]) - 128
    assert np.ptp(mono, axis=2).max() == 0, "one value for the three channels"
    assert mono[..., 0].std() == pytest.approx(sigma, rel=0.02)


@pytest.mark.parametrize(("name", "channels"), [("gaussian_noise", 3), ("gaussian_noise_mono", 1)])
def test_noise_is_rounded_and_clipped_pixel_by_pixel(name, channels):
    image = picture()
    changed, factors = perturb(image, name, 40, seed=0, key="a")
    noise = np.random.default_rng(factors["noise_seed"]).standard_normal((37, 53, channels), dtype=np.float32)
    exact = np.clip(pixels_of(image) + 40 * noise.astype(np.float64), 0, 255)
    assert np.abs(pixels_of(changed) - exact).max() <= 0.5 + 1e-4
    assert pixels_of(changed).min() == 0
    assert pixels_of(changed).max() == 255


def test_legacy_noise_is_the_snippets():
    """The snippet in words: N = amplitude·N(mean, variance) of one channel, repeated; x > 255 → 255; cast to uint8."""
    image = picture()
    changed, factors = perturb(image, "gaussian_noise_legacy", 20, seed=0, key="a")
    noise = np.random.default_rng(factors["noise_seed"]).standard_normal((37, 53, 1), dtype=np.float32)
    wrapped = 0
    for (y, x, c), value in np.ndenumerate(pixels_of(image)):
        exact = float(np.float32(value) + np.float32(20) * noise[y, x, 0])
        whole = int(min(255.0, exact))  # int() drops the fraction towards zero
        wrapped += whole < 0
        assert np.asarray(changed)[y, x, c] == (whole + 256 if whole < 0 else whole)
    assert wrapped > 100


# What is refused


def test_bad_severities_names_modes_and_arrays_are_refused():
    for name, severity, range_ in (
        ("color_jitter", 1.5, "from 0 to 1 "),
        ("color_jitter", -0.1, "from 0 to 1 "),
        ("gaussian_noise", 129, "from 0 to 128 .*the paper's is 5"),
        ("gaussian_noise_legacy", math.nan, "from 0 to 128 "),
        ("gaussian_noise_mono", "5", "from 0 to 128 "),
        ("gaussian_noise", True, "from 0 to 128 "),
        ("c_fog", 6, "whole number from 0 to 5 "),
        ("c_fog", 2.5, "whole number from 0 to 5 "),
        ("rotation", math.inf, "from 0 to 180 "),
    ):
        with pytest.raises(ConfigError, match=range_):
            perturb(picture(), name, severity, seed=0, key="a")
    with pytest.raises(UnknownName, match="Did you mean 'gaussian_noise'"):
        perturb(picture(), "gaussian_nois", 5, seed=0, key="a")
    for mode in ("L", "RGBA", "CMYK"):
        with pytest.raises(ImageError, match=mode):
            perturb(picture().convert(mode), "gaussian_noise", 5, seed=0, key="a")
    for array in (np.zeros((4, 4, 3)), np.zeros((3, 4, 4), np.uint8), np.zeros((4, 4), np.uint8)):
        with pytest.raises(PMSIError, match=r"uint8 \(height, width, 3\)"):
            PERTURBATIONS["gaussian_noise"].apply(array, 5, {"noise_seed": 0})


# As they are typed


def test_an_entry_is_a_name_with_or_without_severities():
    assert severities_of("rotation=10,20.5") == [("rotation", 10.0), ("rotation", 20.5)]
    assert severities_of("jpeg") == [("jpeg", level) for level in PERTURBATIONS["jpeg"].levels]
    assert severities_of("jpeg", usual=(30,)) == [("jpeg", 30.0)]
    assert severities_of("jpeg=40", usual=(30,)) == [("jpeg", 40.0)]
    assert str(severities_of("rotation=-0.0")) == "[('rotation', 0.0)]"


def test_what_is_no_entry_is_refused():
    with pytest.raises(UnknownName, match="rotation"):
        severities_of("rust=1")
    for entry in ("rotation=", "rotation=a"):
        with pytest.raises(ConfigError, match="rotation=10,20"):
            severities_of(entry)
    for entry in ("rotation=-1", "gaussian_noise=nan"):
        with pytest.raises(ConfigError, match="from 0"):
            severities_of(entry)
