"""Regions against the image's own way through resize and crop, and rivals against a confusion made by hand."""

import numpy as np
import pytest
from PIL import Image

from pmsi.config import TrainConfig
from pmsi.data.dataset import Dataset, Sample
from pmsi.data.plumage import SPECIES, distinguishing_parts, draw, plumage, siblings
from pmsi.data.preprocessing import centre_crop, resize
from pmsi.explain.measures.pointing import widened
from pmsi.explain.measures.regions import (
    DISTINCTIVE,
    OBJECT,
    Rival,
    box_mask,
    cropped_mask,
    known_regions,
    most_confused,
    regions_of,
    rivals,
)

NAMES = [species.name for species in SPECIES]


@pytest.mark.parametrize(("size", "resized", "side"), [((50, 40), 64, 56), ((200, 120), 73, 64), ((64, 64), 64, 64)])
def test_masks_and_boxes_go_where_the_pixels_go(size, resized, side):
    """A white rectangle on black, seen as the network sees it, is the region; its blurred rim is left open."""
    box = (9.0, 12.0, 31.0, 17.0)
    mask = np.zeros((size[1], size[0]), dtype=bool)
    mask[12:29, 9:40] = True
    image = Image.fromarray(np.repeat(mask[..., None].astype(np.uint8) * 255, 3, axis=2))
    seen = centre_crop(resize(image, resized), side)[..., 0]
    for found in (cropped_mask(mask, resized, side), box_mask(box, size, resized, side)):
        assert found.shape == (side, side)
        assert found[seen == 255].all()
        assert not found[seen == 0].any()


def test_a_box_that_is_not_resized_has_its_own_pixels_and_may_lie_partly_or_wholly_outside_the_crop():
    found = box_mask((9.0, 12.0, 31.0, 17.0), (64, 64), 64, 64)
    assert found[12:29, 9:40].all()
    assert found.sum() == 31 * 17
    assert box_mask((0.0, 0.0, 100.0, 100.0), (100, 100), 64, 56).all()
    assert not box_mask((0.0, 0.0, 3.0, 100.0), (100, 100), 64, 56).any()


def answers(confused):
    """Two images of each species: sure of their own, but for the given probabilities {(own, given): p}."""
    labels = np.repeat(np.arange(12), 2)
    probabilities = np.eye(12)[labels] * 0.5
    for (own, given), p in confused.items():
        probabilities[labels == own, given] = p
    return labels, probabilities


def test_the_rival_is_the_sibling_that_is_most_confused_with_a_species():
    # 0 and 1 differ in the crown, 0 and 2 in the bill; 5 is of another genus, and however confused no rival.
    found = rivals(plumage(), *answers({(0, 1): 0.1, (2, 0): 0.3, (0, 5): 0.4, (11, 9): 0.25}))
    expected = {0: (2, ("bill",), 0.15), 2: (0, ("bill",), 0.15), 1: (0, ("crown",), 0.05), 9: (11, ("breast",), 0.125)}
    for label, (rival, parts, confusion) in expected.items():
        assert (found[label].label, found[label].parts) == (rival, parts)
        assert found[label].confusion == pytest.approx(confusion)
    assert sorted(most_confused(found)) == [0, 2]
    assert set(found) == set(range(12))
    other = Dataset("colours", ("a", "b"), (), (), lambda sample: Image.new("RGB", (8, 8)))
    assert rivals(other, np.array([0, 1]), np.eye(2)) == {}
    assert most_confused({}) is None


def test_the_regions_of_a_drawing_are_its_parts_and_those_that_tell_it_from_the_likeliest_sibling():
    birds, config = plumage(), TrainConfig(dataset="plumage", image_size=64)
    sample = birds.find("test/ochre_finchling/0000")
    masks = {name: cropped_mask(mask, config.resize_to, 64) for name, mask in birds.open_parts(sample).items()}
    telling = set()
    for likeliest in range(len(birds.classes)):
        found = known_regions(birds, sample, config, np.eye(len(birds.classes))[likeliest])
        assert np.array_equal(found["object"], np.any(list(masks.values()), axis=0))
        assert {name for name in found if name not in ("object", "telling")} == {
            name for name, mask in masks.items() if mask.any() and name != "bird"
        }
        assert all(np.array_equal(found[name], masks[name]) for name in found if name in masks)
        telling.add(found["telling"].tobytes())
    assert len(telling) > 1, "which parts tell depends on the sibling"
    assert list(known_regions(birds, sample, config))[:2] == ["object", "telling"]


def test_a_box_is_the_object_and_what_is_not_seen_no_region():
    config = TrainConfig(image_size=56, resize=64)
    inside, outside = (Sample(name, 0, box=(0.0, 0.0, width, 50.0)) for name, width in (("in", 50.0), ("out", 2.0)))
    dataset = Dataset("birds", ("a", "b"), (), (inside, outside), lambda sample: Image.new("RGB", (50, 50)))
    assert regions_of(dataset, inside, config, {})[OBJECT].all()
    assert regions_of(dataset, outside, config, {}) == {}
    assert regions_of(dataset, Sample("bare", 0), config, {}) == {}


PAIRS = [(SPECIES.index(one), SPECIES.index(other)) for one in SPECIES for other in siblings(one)][::2]


@pytest.mark.parametrize(("own", "other"), PAIRS, ids=lambda label: SPECIES[label].slug)
def test_the_same_bird_as_its_rival_differs_in_the_telling_region_alone(own, other):
    """One individual drawn as either species: what changes in the network's input is the truth about the region."""
    config, sample, seed = TrainConfig(image_size=112, resize=128), Sample("a", own), 11 * own + other
    drawings = [draw(label, seed, size=128) for label in (own, other)]
    dataset = Dataset("plumage", tuple(NAMES), (), (sample,), lambda _: drawings[0].image, lambda _: drawings[0].parts)
    parts = distinguishing_parts(SPECIES[own], SPECIES[other])
    telling = regions_of(dataset, sample, config, {own: Rival(other, parts, 1.0)})[DISTINCTIVE]
    one, two = (centre_crop(resize(drawing.image, 128), 112).astype(int) for drawing in drawings)
    change = abs(one - two).sum(axis=2)
    assert change[widened(telling, 2.0)].sum() > 0.99 * change.sum() > 0
    assert telling.mean() < 0.2
