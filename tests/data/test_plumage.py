"""plumage: reproducible, its masks true, its labels readable from the parts and from nothing else.

The drawings of this file are small and made once for each fixture; what is measured on them is stated with the slack
that a sample of this size needs.
"""

import pickle
from collections import Counter
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from PIL import Image, ImageFilter
from scipy import ndimage
from sklearn.linear_model import LogisticRegression

from pmsi.base.errors import ConfigError, PMSIError, UnknownName
from pmsi.data import plumage as package
from pmsi.data.dataset import count_by_class
from pmsi.data.plumage import PARTS, SPECIES, distinctive_parts, distinguishing_parts, draw, plumage, redraw
from pmsi.data.plumage.drawing import SIZES, Change, draw_image, painted, visible_parts
from pmsi.data.plumage.marks import FORMS

PAIRS = [(a, b) for a, b in combinations(range(len(SPECIES)), 2) if SPECIES[a].genus is SPECIES[b].genus]
"""The labels of every two siblings."""
CLOSE = [(a, b) for a, b in PAIRS if len(distinguishing_parts(SPECIES[a], SPECIES[b])) == 1]
"""Those that differ in one part alone."""

ROUNDING = 1e-5
"""What float32 leaves where a mark was painted over; a thousandth of what would show in 8 bits is 4e-6."""


@pytest.fixture(autouse=True)
def _drawn_anew(monkeypatch):
    """Here drawings are what is tested; elsewhere they are kept."""
    monkeypatch.setattr(package, "draw_image", draw_image)


@pytest.fixture(scope="module")
def drawings():
    """Return 3 drawings of every species, as [species][number]."""
    return [[draw(species, 1000 * species + number, 128) for number in range(3)] for species in range(len(SPECIES))]


def test_four_genera_of_three_whose_siblings_differ_in_one_or_two_parts():
    assert len({species.name for species in SPECIES}) == 12
    assert set(Counter(species.genus.name for species in SPECIES).values()) == {3}
    for a, b in PAIRS:
        parts = distinguishing_parts(SPECIES[a], SPECIES[b])
        assert 1 <= len(parts) <= 2
        assert parts == distinguishing_parts(SPECIES[b], SPECIES[a])
        assert set(parts) <= set(distinctive_parts(SPECIES[a])) & set(PARTS)


def test_one_seed_gives_one_image():
    first = draw_image(4, 9, 128).tobytes()
    draw_image(7, 3, 64)
    assert draw_image(4, 9, 128).tobytes() == first
    assert draw(4, 9, 128).image.tobytes() == first
    assert draw_image(4, 10, 128).tobytes() != first


def test_a_seed_gives_the_same_picture_at_every_size_and_a_bad_size_is_named():
    large = draw_image(10, 21, 384).resize((96, 96), Image.Resampling.BOX)
    drawing = draw(10, 21, 96)
    assert np.abs(np.asarray(large, float) - np.asarray(drawing.image, float)).mean() < 2.5
    assert list(drawing.parts) == list(PARTS)
    assert all(mask.shape == (96, 96) and mask.dtype == bool for mask in drawing.parts.values())
    assert draw_image(10, 21, 65).size == (65, 65)
    for size in (SIZES[0] - 1, SIZES[1] + 1):
        with pytest.raises(PMSIError, match=str(size)):
            draw(0, 0, size)
        with pytest.raises(ConfigError, match=str(size)):
            plumage(size=size)


def test_masks_lie_within_the_bird_and_the_bird_within_the_image(drawings):
    for drawing in (drawing for row in drawings for drawing in row):
        bird = drawing.parts["bird"]
        assert all((mask <= bird).all() for mask in drawing.parts.values())
        left, top, right, bottom = Image.fromarray(bird).getbbox()
        assert 0.4 <= (right - left) / bird.shape[1] <= 0.88
        assert min(left, top) >= 1
        assert max(right, bottom) < len(bird)
    rows = zip(SPECIES, drawings, strict=True)
    seen = [d.parts[part].sum() >= 4 for species, row in rows for d in row for part in distinctive_parts(species)]
    assert np.mean(seen) >= 0.95, "what tells a species is nearly always visible"


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_siblings_drawn_with_one_seed_differ_exactly_within_their_parts(a, b):
    """The ground truth of the masks: no pixel differs but those that a distinctive part can touch."""
    (easel, occluders), (other, _) = painted(a, a, 128), painted(b, a, 128)
    difference = (np.abs(easel.sheet - other.sheet) > ROUNDING).any(axis=0)
    reach = visible_parts(easel, occluders, least=0)
    within = np.any([reach[part] for part in distinguishing_parts(SPECIES[a], SPECIES[b])], axis=0)
    assert not (difference & ~within).any()
    assert difference.any()


def test_the_visible_masks_hold_the_difference_but_for_soft_edges():
    stray = total = 0
    for a, b in CLOSE:
        (part,) = distinguishing_parts(SPECIES[a], SPECIES[b])
        one, two = draw(a, 31, 192), draw(b, 31, 192)
        mask = Image.fromarray(one.parts[part] | two.parts[part]).convert("L")
        near = np.asarray(mask.filter(ImageFilter.MaxFilter(5))) > 0
        difference = (np.asarray(one.image) != np.asarray(two.image)).any(axis=-1)
        stray, total = stray + (difference & ~near).sum(), total + difference.sum()
        assert (one.parts["bird"] == two.parts["bird"]).all()
    assert stray <= 1e-3 * total


@pytest.mark.parametrize("part", PARTS[:-1])
def test_a_part_in_another_form_or_left_out_changes_nothing_else(part):
    """Also under another light; what hangs on a wing is its shadow, within its own width of it."""
    for species, light in ((5, 2), (11, 1)):
        own, _ = painted(species, 40, 128, Change(light=light))
        easel, occluders = painted(species, 40, 128, Change(without=(part,), light=light))
        reach = visible_parts(own, occluders, least=0)[part]
        if part == "wing":
            reach = ndimage.binary_dilation(reach, np.ones((3, 3)), round(0.1 * own.anatomy.frame.scale) + 2)
        changed = [easel, *(painted(species, 40, 128, Change(((part, f),), light=light))[0] for f in FORMS[part])]
        differ = [(np.abs(one.sheet - own.sheet) > ROUNDING).any(axis=0) for one in changed]
        assert not any((difference & ~reach).any() for difference in differ)
        assert differ[0].any() == (part not in ("crown", "breast") or getattr(SPECIES[species].marks, part) != "plain"
                                   or (part, species) == ("crown", 11))  # fmt: skip
        assert sum(difference.any() for difference in differ[1:]) == len(FORMS[part]) - 1


def test_the_same_bird_stands_elsewhere_behind_something_else_or_in_another_pose():
    birds = plumage(test_per_class=2, size=96)
    sample = birds.test[12]
    image, parts, seen = birds.open_image(sample), birds.open_parts(sample), birds.interventions
    inside = ndimage.binary_erosion(parts["bird"], iterations=2)
    for name, other in seen.surroundings(sample).items():
        differ = (np.asarray(image) != np.asarray(other)).any(axis=2)
        if name.startswith("background"):
            assert not differ[inside].any()
            assert differ[~parts["bird"]].mean() > 0.7
        else:
            assert differ.any()
    assert seen.without(sample, ()).tobytes() == image.tobytes()
    assert set(seen.swapped(sample)) == {("tail", "Girdled Reedtail"), ("wing", "Twinbar Reedtail")}
    for change in (Change(pose=1), Change(pose=2), Change(light=1)):
        assert redraw(birds, sample, change).tobytes() != image.tobytes()
    for wrong in ({"without": ("beak",)}, {"forms": (("bill", "ring"),)}, {"occluder": "cat"}, {"background": "sea"}):
        with pytest.raises(UnknownName):
            Change(**wrong)
    with pytest.raises(ConfigError):
        redraw(replace(birds, interventions=None), sample, Change())


def test_occluders_leave_most_of_the_bird():
    hidden = []
    for seed in range(36):
        easel, occluders = painted(seed % 12, seed, 96)
        whole, left = (visible_parts(easel, patches)["bird"].sum() for patches in ([], occluders))
        hidden.append(1 - left / whole)
    assert max(hidden) <= 0.3
    assert np.mean(np.array(hidden) > 0) > 0.3  # some birds are behind something


def test_samples_open_to_their_own_drawing_in_any_order_and_any_process():
    large = plumage(train_per_class=40, test_per_class=20)
    assert large.classes == tuple(species.name for species in SPECIES)
    assert set(count_by_class(large.train, large.classes).values()) == {40}
    assert set(count_by_class(large.test, large.classes).values()) == {20}
    assert len({sample.key for sample in (*large.train, *large.test)}) == 12 * 60
    data = plumage(train_per_class=1, test_per_class=1, size=64)
    samples = (*data.train, *data.test)
    images = [data.open_image(sample).tobytes() for sample in samples]
    assert len(set(images)) == len(samples)  # so train and test share none
    elsewhere, sample = pickle.loads(pickle.dumps(data)), data.test[5]
    assert [elsewhere.open_image(sample).tobytes() for sample in reversed(samples[::5])] == images[::5][::-1]
    assert plumage(train_per_class=5, size=64).open_image(data.train[1]).tobytes() == images[1]
    assert plumage(size=64, seed=1).open_image(data.train[1]).tobytes() != images[1]
    parts = data.open_parts(sample)
    assert set(parts) == set(PARTS)


def test_colours_alone_do_not_tell_the_species():
    def colours(image):
        """Return the shares of 8 × 8 × 8 colours."""
        counts = np.bincount((np.asarray(image, dtype=np.int64) // 32 @ (64, 8, 1)).ravel(), minlength=512)
        return counts / counts.sum()

    data = plumage(train_per_class=8, test_per_class=6, size=64, seed=3)
    (x, y), (seen, truth) = (
        (np.sqrt([colours(data.open_image(s)) for s in samples]), np.array([s.label for s in samples]))
        for samples in (data.train, data.test)
    )
    probe = LogisticRegression(C=3, max_iter=2000)
    assert probe.fit(x, y).score(seen, truth) < 0.35
    within = []
    for genus in range(4):
        train, test = y // 3 == genus, truth // 3 == genus
        within.append(probe.fit(x[train], y[train]).score(seen[test], truth[test]))
    assert np.mean(within) < 0.55  # chance is 0.33; its standard error on 72 images is 0.06


def test_a_look_at_the_right_part_does_tell_the_species():
    """The positive control: the same kind of probe, shown only the part that differs, as 16 × 16 levels of grey."""

    def crop(species, seed, part):
        drawing = draw(species, seed, 96)
        left, top, right, bottom = Image.fromarray(drawing.parts[part]).getbbox()
        grey = drawing.image.convert("L").resize((16, 16), box=(left - 1, top - 1, right + 1, bottom + 1))
        levels = np.asarray(grey, dtype=float)
        return (levels - levels.mean()) / (levels.std() + 1e-6)

    right = []
    for a, b in CLOSE[::2]:
        (part,) = distinguishing_parts(SPECIES[a], SPECIES[b])
        labels = np.array([a, b] * 14)
        x = np.stack([crop(label, 500 + number, part) for number, label in enumerate(labels)])
        train = np.concatenate([x[:20], x[:20, :, ::-1]]).reshape(40, -1)  # birds face either way
        probe = LogisticRegression(C=0.01, max_iter=500).fit(train, np.tile(labels[:20], 2))
        right.append(probe.score(x[20:].reshape(8, -1), labels[20:]))
    assert np.mean(right) > 0.8
