"""Deletion, insertion and ROAD: on models whose answer is known by heart, and the imputation by its own equations."""

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve, gaussian_filter

from pmsi.base.errors import PMSIError
from pmsi.explain.measures.deletion import BLUR, Curve, blurred, deletion, insertion, ranking, removal_curves, road
from pmsi.explain.measures.road import imputed

SIDE = 20


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def image_of(seed=0, side=SIDE):
    return torch.randn(3, side, side, generator=generator(seed))


def test_ranking_is_by_value_and_draws_the_order_of_equals():
    values = np.array([[0.0, 3.0, 0.0], [0.0, 1.0, 3.0]])
    drawn = [ranking(values, seed, "key") for seed in range(60)]
    assert all(set(order[:2]) == {1, 5} and order[2] == 4 and set(order[3:]) == {0, 2, 3} for order in drawn)
    assert len({tuple(order) for order in drawn}) == 12
    assert np.array_equal(drawn[0], ranking(values, 0, "key"))


def evidence(image, wanted):
    """A model whose probability is the share of the wanted pixels (h, w) that are still the image's own."""
    return lambda images: ((images == image).all(dim=1) & wanted).flatten(1).sum(dim=1) / wanted.sum()


@pytest.fixture
def wanted():
    found = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    found[4:9, 6:14] = True  # 40 of 400 pixels
    return found


def test_the_curves_of_a_map_that_names_what_the_model_used(wanted):
    image = image_of()
    order = ranking(wanted.numpy().astype(float), 0)
    shares = (0.0, 0.05, 0.1, 0.5, 1.0)
    assert Curve((0.2, 0.6), (0.5, 0.7)).area == pytest.approx(0.6), "the mean over the shares that there are"
    removed = deletion(evidence(image, wanted), image, order, shares)
    shown = insertion(evidence(image, wanted), image, order, shares)
    assert removed.probability == pytest.approx((1, 0.5, 0, 0, 0))
    assert shown.probability == pytest.approx((0, 0.5, 1, 1, 1))
    assert removed.area == pytest.approx(0.05)  # a triangle
    assert shown.area == pytest.approx(0.95)


def test_the_better_map_scores_better_everywhere(wanted):
    image, model = image_of(), evidence(image_of(), wanted)
    good = ranking(wanted.numpy().astype(float), 0)
    chance = ranking(np.zeros((SIDE, SIDE)), 0)
    bad = good[::-1]
    for measure, sign in ((deletion, -1), (insertion, 1)):
        scores = [sign * measure(model, image, order).area for order in (good, chance, bad)]
        assert scores == sorted(scores, reverse=True)
        assert scores[0] - scores[1] > 0.2
    curves = [road(model, image, order, 0) for order in (good, chance, bad)]
    # After a tenth all 40 are gone, and from the other end they are the last to go: (1 − 0) / 2 at all shares.
    assert [curve.score for curve in curves] == pytest.approx([0.5, 0, -0.5], abs=0.06)
    assert curves[0].most.shares == tuple(k / 10 for k in range(1, 10))

    def mean(images):
        return images.sigmoid().mean(dim=(1, 2, 3))

    once, again, other = (road(mean, image, chance, seed, "key") for seed in (0, 0, 1))
    assert once == again != other, "the noise is its seed's"


def test_an_order_of_other_pixels_is_refused():
    for order in (np.arange(5), np.zeros(SIDE * SIDE, dtype=int)):
        with pytest.raises(PMSIError, match="does not fit an image of 20 × 20"):
            deletion(lambda images: images[:, 0, 0, 0], image_of(), order)


def test_the_blur_is_gaussian():
    image = image_of(side=64)
    expected = [gaussian_filter(channel.double().numpy(), BLUR * 64, mode="nearest", truncate=3) for channel in image]
    np.testing.assert_allclose(blurred(image), np.stack(expected), atol=2e-3)


class Texture(torch.nn.Linear):
    """Two classes; the first one's logit says how much neighbours differ in the image's upper left quarter."""

    def forward(self, images):
        logit = 2 * images[:, 1, :32, :32].diff(dim=2).abs().mean(dim=(1, 2)) - 4
        return {"only": torch.stack([logit, -logit], dim=1)}


def test_the_curves_of_a_map_stand_beside_those_of_a_random_one():
    pixels = np.zeros((64, 64, 3), dtype=np.uint8)
    pixels[::2, ::2] = pixels[1::2, 1::2] = 255
    values = np.zeros((2, 2), dtype=np.float32)
    values[0, 0] = 1.0
    curves = removal_curves(Texture(1, 1), pixels, values, head="only", label=0, key="a")
    assert curves["deletion"]["map"].area < curves["deletion"]["random"].area
    assert curves["insertion"]["map"].area > curves["insertion"]["random"].area
    clean = curves["deletion"]["map"].probability[0]
    assert clean == pytest.approx(curves["insertion"]["random"].probability[-1], abs=1e-6)


# Imputation

WEIGHTS = {(dy, dx): 1 / 12 if dy and dx else 1 / 6 for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx}


def filled_by_loops(channel, missing):
    """Write down every pixel's equation, and solve them as a dense system."""
    height, width = channel.shape
    matrix, right = np.eye(height * width), channel.ravel().copy()
    for y, x in np.argwhere(missing):
        row = y * width + x
        around = {
            (y + dy, x + dx): w for (dy, dx), w in WEIGHTS.items() if 0 <= y + dy < height and 0 <= x + dx < width
        }
        right[row] = 0
        for (v, u), weight in around.items():
            matrix[row, v * width + u] = -weight / sum(around.values())
    return np.linalg.solve(matrix, right).reshape(height, width)


@pytest.mark.parametrize(
    ("kind", "shape"), [("scattered", (12, 9)), ("one hole", (17, 20)), ("one pixel left", (12, 9))]
)
def test_missing_pixels_are_the_weighted_mean_of_their_neighbours(kind, shape):
    missing = torch.rand(2, *shape, generator=generator()) < 0.8
    if kind != "scattered":
        missing[:] = kind == "one pixel left"
    if kind == "one hole":
        missing[:, 3:10, 2:7] = True
    missing[:, 0, 0] = False
    images = torch.randn(2, 3, *shape, generator=generator(1), dtype=torch.float64)
    found = imputed(images, missing, generator(), noise=0.0)
    for i in range(2):
        for channel in range(3):
            expected = filled_by_loops(images[i, channel].numpy(), missing[i].numpy())
            np.testing.assert_allclose(found[i, channel], expected, atol=1e-9)


def test_a_large_hole_is_filled_in_too():
    """Nine tenths of an image: each missing pixel is the mean of what stands around it."""
    coarse = np.random.default_rng(1).random((8, 8))
    values = np.kron(coarse, np.ones((12, 12)))
    missing, image = torch.from_numpy(values < np.quantile(values, 0.9)), blurred(image_of(side=96))
    found = imputed(image[None], missing[None], generator(), noise=0.0)[0].double().numpy()
    weights = np.array([[1.0, 2, 1], [2, 0, 2], [1, 2, 1]])
    around = convolve(np.ones(missing.shape), weights, mode="constant")
    for channel, before in zip(found, image.numpy(), strict=True):
        apart = (convolve(channel, weights, mode="constant") / around - channel)[missing]
        assert abs(apart).max() < 1e-5
        assert np.array_equal(channel[~missing], before[~missing])


def test_noise_falls_on_missing_pixels_alone_and_is_drawn_by_the_generator():
    missing = torch.zeros(1, 64, 64, dtype=torch.bool)
    missing[:, 10:50] = True
    images = torch.randn(1, 3, 64, 64, generator=generator(1))
    plain, once, again = (imputed(images, missing, generator(4), noise) for noise in (0.0, 0.5, 0.5))
    assert torch.equal(once, again)
    assert torch.equal(once[:, :, :10], images[:, :, :10])
    noise = (once - plain)[:, :, 10:50]
    assert float(noise.std()) == pytest.approx(0.5, rel=0.03)
    assert abs(float(noise.mean())) < 0.02


@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")  # the library's own, from numpy
def test_imputation_is_that_of_the_library_and_needs_a_pixel():
    from pytorch_grad_cam.metrics.road import NoisyLinearImputer

    missing = torch.rand(1, 8, 9, generator=generator()) < 0.7
    images = torch.randn(1, 3, 8, 9, generator=generator(1))
    expected = NoisyLinearImputer(noise=0.0)(images[0], (~missing[0]).float())
    torch.testing.assert_close(imputed(images, missing, generator(), noise=0.0)[0], expected, rtol=0, atol=1e-5)
    with pytest.raises(PMSIError, match="no pixel left"):
        imputed(images, torch.ones_like(missing), generator())
