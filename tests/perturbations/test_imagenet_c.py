"""The corruptions of ImageNet-C against OpenCV, colorsys, plain loops and what their noise promises."""

import colorsys
import io
import itertools
import math

import cv2  # with which ImageNet-C itself is made
import numpy as np
import pytest
from PIL import Image
from scene import distance, scene
from scipy import ndimage

from pmsi.perturbations import PERTURBATIONS, draw, imagenet_c, perturb
from pmsi.perturbations.imagenet_c import FROST_COLOUR, FROST_DEVIATION, frost_texture, plasma

NOT_INCREASING = {
    "c_elastic_transform": "1 and 2 move the whole image far, 3 to 5 its parts a little",
    "c_glass_blur": "2 scatters once, 1 twice",
    "c_frost": "the image gets darker as the frost gets brighter",
    "c_saturate": "1 and 2 take colour away, 3 to 5 add it",
    "c_spatter": "water up to 3, mud from 4 on",
}
"""Corruptions whose published severities do not change pixels more and more."""


def corrupted(image, name, severity, key="a"):
    return perturb(image, f"c_{name}", severity, seed=0, key=key)[0].astype(float)


def flat(level, side=160):
    return np.full((side, side, 3), level, np.uint8)


@pytest.mark.parametrize("name", sorted(imagenet_c.ROWS.keys() - NOT_INCREASING))
def test_a_higher_severity_changes_more(name):
    image = scene(96, 112)
    found = [
        np.mean([distance(perturb(image, name, s, seed=0, key=str(key))[0], image) for key in range(6)])
        for s in (1, 2, 3, 4, 5)
    ]
    assert all(b > 0.97 * a for a, b in itertools.pairwise(found))
    assert found[-1] > 1.3 * found[0]


# Noises


@pytest.mark.parametrize(("severity", "sigma"), [(1, 0.08), (3, 0.18)])
def test_gaussian_noise_has_its_deviation(severity, sigma):
    noise = corrupted(flat(128), "gaussian_noise", severity) - 128
    assert noise.std() == pytest.approx(255 * sigma, rel=0.01)
    assert noise.mean() == pytest.approx(0, abs=0.6)


@pytest.mark.parametrize(("severity", "photons", "level"), [(2, 25, 90), (3, 12, 20)])
def test_shot_noise_has_the_variance_of_its_photons(severity, photons, level):
    values = corrupted(flat(level), "shot_noise", severity)
    assert values.mean() == pytest.approx(level, rel=0.03)
    assert values.var() == pytest.approx(level * 255 / photons, rel=0.08)
    counts = values * photons / 255
    assert np.abs(counts - np.rint(counts)).max() < 0.6 * photons / 255  # whole photons, but for the rounding to pixels


@pytest.mark.parametrize(("severity", "share"), [(1, 0.03), (5, 0.27)])
def test_impulse_noise_is_salt_and_pepper_by_channel(severity, share):
    values = corrupted(flat(100), "impulse_noise", severity)
    assert set(np.unique(values)) == {0, 100, 255}
    salt, pepper = (values == 255), (values == 0)
    assert salt.mean() == pytest.approx(share / 2, rel=0.08)
    assert pepper.mean() == pytest.approx(share / 2, rel=0.08)
    assert abs(np.corrcoef(salt[..., 0].ravel(), salt[..., 1].ravel())[0, 1]) < 0.03


def test_speckle_noise_grows_with_the_value():
    dark, bright = (corrupted(flat(level), "speckle_noise", 1).std() for level in (40, 120))
    assert (dark, bright) == pytest.approx((0.15 * 40, 0.15 * 120), rel=0.02)


# Blurs


@pytest.mark.parametrize(("severity", "radius", "sigma", "side"), [(1, 3, 0.1, 3), (5, 10, 0.5, 5)])
def test_defocus_is_a_convolution_with_a_soft_disc(severity, radius, sigma, side):
    disc = np.zeros((25, 25))
    for i, j in np.ndindex(25, 25):
        disc[i, j] = (i - 12) ** 2 + (j - 12) ** 2 <= radius**2
    disc = cv2.GaussianBlur(disc / disc.sum(), (side, side), sigma)
    expected = cv2.filter2D(scene().astype(float), -1, disc)  # its border is mirrored
    assert np.abs(corrupted(scene(), "defocus_blur", severity) - expected).max() <= 0.5 + 1e-3


@pytest.mark.parametrize(("severity", "sigma"), [(1, 1), (5, 6)])
def test_gaussian_blur_is_opencvs(severity, sigma):
    side = 2 * 4 * sigma + 1
    expected = cv2.GaussianBlur(scene().astype(float), (side, side), sigma, borderType=cv2.BORDER_REPLICATE)
    assert np.abs(corrupted(scene(), "gaussian_blur", severity) - expected).max() <= 0.5 + 1e-6


@pytest.mark.parametrize(("reach", "size"), [(1, (3, 5)), (1, (30, 41)), (2, (30, 41)), (4, (9, 8))])
def test_glass_scatters_as_imagenet_c_swaps_views(reach, size):
    """Row by row from the last pixel back, two views of one array are swapped, by which the second is not changed."""
    image = np.random.default_rng(0).random((*size, 3))
    expected, (h, w) = image.copy(), size
    turns = [*range(h - reach, reach, -1)], [*range(w - reach, reach, -1)]
    steps = np.random.default_rng(7).integers(-reach, reach, (2, *map(len, turns)))
    for i, j in itertools.product(*turns):
        down, right = steps[:, i - reach - 1, j - reach - 1]
        expected[i, j], expected[i + down, j + right] = expected[i + down, j + right], expected[i, j]
    assert np.array_equal(imagenet_c.scattered(image, reach, np.random.default_rng(7)), expected)
    assert min(size) < 10 or (expected != image).mean() > 0.5


def test_zoom_blur_is_the_mean_of_enlargements():
    image, (h, w) = scene(), scene().shape[:2]
    total, factors = image.astype(float), [1 + 0.02 * number for number in range(11)]  # severity 3: 1, 1.02, …, 1.2
    for factor in factors:
        places = [(np.arange(side) + 0.5 - side / 2) / factor + side / 2 - 0.5 for side in (h, w)]
        grid = np.meshgrid(*places, indexing="ij")
        channels = [ndimage.map_coordinates(image[..., c] * 1.0, grid, order=1, mode="nearest") for c in range(3)]
        total += np.stack(channels, axis=-1)
    assert np.abs(corrupted(image, "zoom_blur", 3) - total / 12).max() <= 1


@pytest.mark.parametrize("angle", [-135, 0, 20])
def test_smear_is_a_convolution_with_a_fading_line(angle):
    field, radius, sigma = np.random.default_rng(0).standard_normal((19, 23)), 4, 3.0
    kernel = np.zeros((17, 17))
    for step in range(2 * radius + 1):
        down = math.ceil(step * math.sin(math.radians(angle)) - 0.5)
        right = math.ceil(step * math.cos(math.radians(angle)) - 0.5)
        kernel[8 - down, 8 - right] += math.exp(-(step**2) / (2 * sigma**2))
    expected = ndimage.convolve(field, kernel / kernel.sum(), mode="nearest")
    assert np.allclose(imagenet_c.smeared(field, radius, sigma, angle), expected)
    image = np.stack([field, 2 * field, field**2], axis=2)
    assert np.allclose(imagenet_c.smeared(image, radius, sigma, angle)[..., 0], expected)


def test_motion_is_along_the_drawn_angle():
    stripes = np.repeat((np.arange(64) % 8 < 4)[:, None, None] * np.uint8(255), 64, axis=1).repeat(3, axis=2)
    row = PERTURBATIONS["c_motion_blur"]
    assert np.array_equal(row.apply(stripes, 5, {"angle": 0.0}), stripes)  # along them nothing changes
    assert row.apply(stripes, 5, {"angle": 45.0}).std() < 0.4 * stripes.std()
    angles = [draw("c_motion_blur", 5, (8, 8), seed=0, key=str(key))["angle"] for key in range(300)]
    assert -45 <= min(angles) < -43
    assert 43 < max(angles) <= 45


# Weather


def test_plasma_is_diamond_and_square_in_loops():
    side, decay = 16, 1.7
    field, draws, step, spread = np.zeros((side, side)), np.random.default_rng(3), side, 1.0
    while step > 1:
        n, half = side // step, step // 2
        noises = [draws.uniform(-spread, spread, (n, n)) for _ in range(3)]
        places = ((half, half), (0, half), (half, 0))
        for (top, left), noise in zip(places, noises, strict=True):
            around = (
                [(-half, -half), (-half, half), (half, -half), (half, half)]
                if top == left
                else [(-half, 0), (half, 0), (0, -half), (0, half)]
            )
            for i, j in np.ndindex(n, n):
                y, x = top + i * step, left + j * step
                known = [field[(y + dy) % side, (x + dx) % side] for dy, dx in around]
                field[y, x] = np.mean(known) + noise[i, j]
        step, spread = half, spread / decay**2
    expected = (field - field.min()) / np.ptp(field)
    assert np.allclose(plasma(side, decay, np.random.default_rng(3)), expected)


@pytest.mark.parametrize(("severity", "density"), [(1, 1.5), (5, 3)])
def test_fog_is_a_share_of_the_image_and_never_brighter(severity, density):
    found = corrupted(scene(), "fog", severity)
    brightest = int(scene().max())
    assert found.max() <= brightest
    share = brightest / (brightest + 255 * density)
    clouds = found - share * scene()
    assert np.ptp(clouds, axis=2).max() <= 1 + 1e-6  # one grey layer over all channels
    assert (clouds >= -0.5).all()
    assert corrupted(flat(0), "fog", severity).max() == 0


@pytest.mark.parametrize(("severity", "kept"), [(1, 0.8), (5, 0.55)])
def test_snow_whitens_and_falls_twice(severity, kept):
    found = corrupted(flat(0, side=96), "snow", severity)
    assert np.array_equal(found, np.rot90(found, 2))  # the layer and the same layer turned
    assert found.min() >= round((1 - kept) * 0.5 * 255) - 1
    assert found.max() > found.min() + 60
    assert corrupted(scene(), "snow", severity).mean() > scene().mean() + 20


def test_frost_is_drawn_in_the_colour_and_contrast_of_frost():
    texture = frost_texture((200, 260), np.random.default_rng(0))
    assert texture.mean(axis=(0, 1)) == pytest.approx(FROST_COLOUR, abs=2)
    assert texture[..., 0].std() == pytest.approx(FROST_DEVIATION, rel=0.1)
    assert np.abs(np.diff(texture[..., 0], axis=1)).mean() < 0.4 * FROST_DEVIATION  # smooth, not noise
    dark, bright = corrupted(flat(0), "frost", 3), corrupted(flat(100), "frost", 3)
    assert np.abs(bright - dark - 0.7 * 100).max() <= 1  # the image counts 0.7
    assert dark.mean() == pytest.approx(0.7 * FROST_COLOUR.mean(), rel=0.05)
    assert not np.array_equal(dark, corrupted(flat(0), "frost", 3, key="b"))


# Spatter


def liquid(sigma, threshold, seed, shape=(90, 110)):
    noise = np.random.default_rng(seed).normal(0.65, 0.3, shape)
    side = 2 * 4 * sigma + 1
    smooth = cv2.GaussianBlur(noise, (side, side), sigma, borderType=cv2.BORDER_REPLICATE)
    return np.where(smooth < threshold, 0, smooth)


@pytest.mark.parametrize(
    ("severity", "sigma", "threshold", "strength"), [(1, 4, 0.69, 0.6), (2, 3, 0.68, 0.6), (3, 2, 0.68, 0.5)]
)
def test_water_is_imagenet_cs_by_opencv_with_exact_distances(severity, sigma, threshold, strength):
    image = scene(90, 110)
    found, factors = perturb(image, "c_spatter", severity, seed=0, key="b")
    drops = (255 * liquid(sigma, threshold, factors["noise_seed"])).astype(np.uint8)
    distance_to_edge = cv2.distanceTransform(255 - cv2.Canny(drops, 50, 150), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    height = cv2.equalizeHist(cv2.blur(np.minimum(distance_to_edge, 20), (3, 3)).astype(np.uint8))
    relief = cv2.filter2D(height, cv2.CV_8U, np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]))
    light = drops * cv2.blur(relief, (3, 3)).astype(float)
    expected = (image + np.array([175, 238, 238]) * strength * (light / light.max())[..., None]).clip(0, 255)
    assert np.abs(found - expected).max() <= 0.5 + 1e-6


def test_mud_is_brown():
    image = scene(120, 140)
    mud = corrupted(image, "spatter", 4)
    covered = (mud != image).any(axis=2)
    assert 0.02 < covered.mean() < 0.7
    assert np.median(mud[covered], axis=0) == pytest.approx([63, 42, 20], abs=15)


# Digital


HSV = {
    ("brightness", 1): lambda h, s, v: (h, s, min(v + 0.1, 1)),
    ("brightness", 5): lambda h, s, v: (h, s, min(v + 0.5, 1)),
    ("saturate", 1): lambda h, s, v: (h, s * 0.3, v),
    ("saturate", 3): lambda h, s, v: (h, min(s * 2, 1), v),
    ("saturate", 5): lambda h, s, v: (h, min(s * 20 + 0.2, 1), v),
}


@pytest.mark.parametrize(("name", "severity"), HSV)
def test_brightness_and_saturation_are_those_of_hsv(name, severity):
    image = np.random.default_rng(0).integers(0, 256, (12, 10, 3), dtype=np.uint8)
    image[0], image[1, :5], image[1, 5:] = 0, 255, 90  # black, white and grey have no hue
    expected = np.zeros(image.shape)
    for i, j in np.ndindex(image.shape[:2]):
        hsv = colorsys.rgb_to_hsv(*(image[i, j] / 255))
        expected[i, j] = np.array(colorsys.hsv_to_rgb(*HSV[name, severity](*hsv))) * 255
    assert np.abs(corrupted(image, name, severity) - expected).max() <= 0.5 + 1e-6


def test_contrast_is_about_the_mean_of_each_channel():
    found, image = corrupted(scene(), "contrast", 3), scene()
    for c in range(3):
        mean = sum(map(int, image[..., c].ravel())) / image[..., c].size
        assert np.abs(found[..., c] - (mean + 0.2 * (image[..., c] - mean))).max() <= 0.5 + 1e-6


def test_pixelate_shows_means_of_blocks():
    found, image = corrupted(scene(), "pixelate", 2), scene().astype(float)
    for i, j in np.ndindex(24, 32):
        block = np.s_[2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
        assert np.abs(found[block] - image[block].mean(axis=(0, 1))).max() <= 1


@pytest.mark.parametrize(("severity", "quality"), [(1, 25), (5, 7)])
def test_jpeg_compression_is_a_file_of_that_quality(severity, quality):
    file = io.BytesIO()
    Image.fromarray(scene()).save(file, "JPEG", quality=quality)
    assert np.array_equal(corrupted(scene(), "jpeg_compression", severity), np.asarray(Image.open(file)))


def bilinear(channel, rows, columns, border):
    """Return a channel's values at real-valued places, mirrored outside as numpy's pad mirrors."""
    (h, w), found = channel.shape, np.zeros(rows.shape)
    inside_y, inside_x = (np.pad(np.arange(side), 20 * side, border) for side in (h, w))
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    for i, j in np.ndindex(2, 2):
        weight = (1 - np.abs(top + i - rows)) * (1 - np.abs(left + j - columns))
        found += weight * channel[inside_y[top + i + 20 * h], inside_x[left + j + 20 * w]]
    return found


@pytest.mark.parametrize(("severity", "alpha", "sigma", "corner"), [(2, 488, 19.52, 48.8), (5, 29.28, 2.44, 4.88)])
def test_elastic_transform_is_an_affine_map_and_then_a_smooth_shift(severity, alpha, sigma, corner):
    image, (h, w) = scene(90, 110), (90, 110)
    found, factors = perturb(image, "c_elastic_transform", severity, seed=0, key="a")
    draws = np.random.default_rng(factors["noise_seed"])
    points = np.array([(45 + 30, 55 + 30), (45 - 30, 55 + 30), (45 - 30, 55 - 30)])
    moved = points + draws.uniform(-corner, corner, (3, 2))
    edges, before = (np.column_stack([p[0] - p[1], p[2] - p[1]]) for p in (moved, points))
    matrix = before @ np.linalg.inv(edges)  # takes the moved triangle's edges back to where they were
    side = 2 * int(3 * sigma + 0.5) + 1
    smooth = [
        cv2.GaussianBlur(draws.uniform(-1, 1, (h, w)), (side, side), sigma, borderType=cv2.BORDER_REFLECT) for _ in "yx"
    ]
    shifted = np.indices((h, w)) + alpha * np.array(smooth)
    before_it = (
        np.einsum("ij,jhw->ihw", matrix, np.indices((h, w)) - moved[1][:, None, None]) + points[1][:, None, None]
    )
    for c in range(3):
        bent = bilinear(image[..., c].astype(float), *before_it, "reflect")
        expected = bilinear(bent, *shifted, "symmetric")
        assert np.abs(found[..., c] - expected).max() <= 0.5 + 1e-5
