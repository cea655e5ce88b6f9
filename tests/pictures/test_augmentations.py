"""Every augmentation on one image: which pixels it shows, and what the labels count."""

import numpy as np
import pytest
import torch
from PIL import Image

from pmsi.base.errors import ConfigError, PMSIError
from pmsi.pictures.augmentations import augmented
from pmsi.pictures.mosaics import mosaics


def noise(low, high, seed):
    return Image.fromarray(np.random.default_rng(seed).integers(low, high, (64, 64, 3), dtype=np.uint8))


@pytest.fixture
def image():
    return noise(0, 120, 0)


@pytest.fixture
def partner():
    return noise(130, 255, 1)


def pixels(picture):
    return np.asarray(picture).astype(int)


def test_rmg_is_the_mosaic_of_the_page(image, partner):
    made = augmented("rmg", image, partner, 3, seed=5)
    assert np.array_equal(pixels(made.picture), pixels(mosaics(image, 3, seed=5, borders=False)[-1]))
    assert (made.own, made.partner) == (1, 0)


def test_cutmix_and_mixup_show_both_images_as_the_labels_count(image, partner):
    for seed in range(8):
        made = augmented("cutmix", image, partner, 2, seed=seed)
        pasted = (pixels(made.picture) == pixels(partner)).all(axis=2)
        assert np.array_equal(pixels(made.picture)[~pasted], pixels(image)[~pasted])
        assert made.partner == pytest.approx(pasted.mean(), abs=1e-6)
        made = augmented("mixup", image, partner, 2, seed=seed)
        assert np.abs(pixels(made.picture) - (made.own * pixels(image) + made.partner * pixels(partner))).max() <= 1
        assert made.own + made.partner == pytest.approx(1)


def test_snapmix_counts_what_the_network_sees(image, partner):
    plain = augmented("snapmix", image, partner, 2, seed=1)
    pasted = (pixels(plain.picture) != pixels(image)).any(axis=2)
    assert plain.own == pytest.approx(1 - pasted.mean(), abs=0.02)
    beyond = torch.from_numpy((~pasted).astype(np.float32)).expand(2, -1, -1)  # it looks past the box
    seen = augmented("snapmix", image, partner, 2, seed=1, attention=lambda: beyond)
    assert np.array_equal(pixels(seen.picture), pixels(plain.picture))
    assert seen.own == pytest.approx(1)


def test_what_cannot_be_is_refused(image, partner):
    with pytest.raises(ConfigError, match="one size"):
        augmented("mixup", image, partner.resize((32, 32)))
    with pytest.raises(ConfigError, match="nearest size"):
        augmented("rmg", image.resize((60, 60)), partner.resize((60, 60)), 3)
    with pytest.raises(PMSIError, match="rmg"):
        augmented("nothing like it", image, partner)
