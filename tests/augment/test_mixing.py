"""Mixup, CutMix and SnapMix against their equations in plain loops, and the rows of AUGMENTATIONS as a whole."""

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from loops import seeded
from scipy import stats

from pmsi.augment import AUGMENTATIONS, mixing
from pmsi.augment.mixing import Blend, Paste, cutmix, mixup, plan_blend, plan_cut, plan_snap, snapmix, symmetric_beta
from pmsi.config import TrainConfig

HEIGHT, WIDTH = 24, 40


def noise(b=6, h=HEIGHT, w=WIDTH, seed=0):
    return torch.randint(0, 256, (b, 3, h, w), dtype=torch.uint8, generator=seeded(seed))


def labels_of(b=6):
    return torch.arange(b) * 3


def boxes(*edges):
    """Boxes as (top, left, bottom, right), one for each image."""
    return torch.tensor(edges)


def upsampled(values, size):
    """Bilinear upsampling by its definition: pixels are areas, and the border repeats."""
    result = np.zeros(size)
    for i, j in np.ndindex(*size):
        y = min(max((i + 0.5) * values.shape[0] / size[0] - 0.5, 0), values.shape[0] - 1)
        x = min(max((j + 0.5) * values.shape[1] / size[1] - 0.5, 0), values.shape[1] - 1)
        for v, u in itertools.product({math.floor(y), math.ceil(y)}, {math.floor(x), math.ceil(x)}):
            result[i, j] += values[v, u] * (1 - abs(y - v)) * (1 - abs(x - u))
    return result


def mass_in(values, size, box):
    """SnapMix's share of a map in a box: at image size, less the minimum, over the sum."""
    density = upsampled(values, size)
    density = (density - density.min()) / (density - density.min()).sum()
    top, left, bottom, right = box
    return sum(density[i, j] for i in range(top, bottom) for j in range(left, right))


def parts(result):
    images, target = result
    return [images, target.label_a, target.label_b, target.weight_a, target.weight_b]


# Draws


@pytest.mark.parametrize("a", [1, 5])
def test_beta_is_scipys(a):
    drawn = symmetric_beta(a, 20_000, seeded(a)).numpy()
    beta = stats.beta(a, a)
    assert drawn.mean() == pytest.approx(beta.mean(), abs=4 * beta.std() / math.sqrt(20_000))
    assert drawn.var() == pytest.approx(beta.var(), rel=0.05)
    assert stats.kstest(drawn, beta.cdf).pvalue > 1e-3


def boxes_by_numpy(a, count, seed):
    """Boxes from numpy's Beta: sides √(1 − λ) of the image's, a centre anywhere, and the overhang cut off."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        cut = math.sqrt(1 - rng.beta(a, a))
        h, w = int(HEIGHT * cut), int(WIDTH * cut)
        top, left = rng.integers(HEIGHT) - h // 2, rng.integers(WIDTH) - w // 2
        found.append((max(top, 0), max(left, 0), min(top + h, HEIGHT), min(left + w, WIDTH)))
    return np.array(found)


@pytest.mark.parametrize(("a", "draw"), [(1, plan_cut), (5, plan_snap)])
def test_boxes_are_distributed_as_numpys(a, draw):
    drawn = draw(4000, (HEIGHT, WIDTH), generator=seeded(a))
    expected = boxes_by_numpy(a, 4000, seed=a)
    for box in (drawn.onto.numpy(), drawn.source.numpy()):
        assert (box[:, :2] >= 0).all()
        assert (box[:, 2] <= HEIGHT).all()
        assert (box[:, 3] <= WIDTH).all()
        height, width = (box[:, 2:] - box[:, :2]).T
        other_height, other_width = (expected[:, 2:] - expected[:, :2]).T
        for edge in range(4):
            assert stats.ks_2samp(box[:, edge], expected[:, edge]).pvalue > 1e-3
        assert stats.ks_2samp(height * width, other_height * other_width).pvalue > 1e-3
        assert (height * width).std() == pytest.approx((other_height * other_width).std(), rel=0.03)
        assert np.corrcoef(height, width)[0, 1] == pytest.approx(np.corrcoef(other_height, other_width)[0, 1], abs=0.05)
    shared = bool((drawn.onto == drawn.source).all())
    assert shared == (draw is plan_cut)


@pytest.mark.parametrize(
    "draw", [plan_blend, lambda b, **how: plan_cut(b, (64, 64), **how), lambda b, **how: plan_snap(b, (64, 64), **how)]
)
def test_partners_are_a_permutation_and_the_rest_is_drawn_for_each_image_or_once(draw):
    def values(drawn):
        return drawn.lam[:, None] if isinstance(drawn, Blend) else torch.cat([drawn.onto, drawn.source], dim=1)

    own, shared = draw(40, generator=seeded()), draw(40, generator=seeded(), per_image=False)
    for drawn in (own, shared):
        assert sorted(drawn.partner.tolist()) == list(range(40))
        assert drawn.partner.tolist() != list(range(40))
    assert len(values(own).unique(dim=0)) > 30
    assert len(values(shared).unique(dim=0)) == 1
    assert len(values(shared)) == 40
    assert torch.equal(values(draw(40, generator=seeded())), values(own))
    assert not torch.equal(values(draw(40, generator=seeded(1))), values(own))


# Mixup


def test_mixup_is_the_weighted_mean():
    images, labels = noise(), labels_of()
    blend = plan_blend(6, generator=seeded(3))
    mixed, target = mixup(images, labels, blend)
    for i, (partner, lam) in enumerate(zip(blend.partner.tolist(), blend.lam.tolist(), strict=True)):
        exact = lam * images[i].numpy().astype(float) + (1 - lam) * images[partner].numpy().astype(float)
        assert np.abs(mixed[i].numpy() - exact).max() <= 0.5 + 1e-3
        assert (target.label_a[i], target.label_b[i]) == (labels[i], labels[partner])
        assert target.weight_a[i].item() == pytest.approx(lam, abs=1e-6)
        assert target.weight_b[i].item() == pytest.approx(1 - lam, abs=1e-6)
    assert mixed.dtype == torch.uint8


# CutMix


@pytest.mark.parametrize("per_image", [True, False])
def test_cutmix_pastes_the_partners_box_and_weighs_labels_by_the_pixels_that_are_there(per_image):
    images, labels = noise(), labels_of()
    paste = plan_cut(6, (HEIGHT, WIDTH), generator=seeded(2), per_image=per_image)
    mixed, target = cutmix(images, labels, paste)
    for i, partner in enumerate(paste.partner.tolist()):
        expected = images[i].clone()
        top, left, bottom, right = paste.onto[i].tolist()
        expected[:, top:bottom, left:right] = images[partner, :, top:bottom, left:right]
        assert torch.equal(mixed[i], expected)
        others = (bottom - top) * (right - left) / (HEIGHT * WIDTH)
        assert target.weight_a[i].item() == pytest.approx(1 - others, abs=1e-6)
        assert target.weight_b[i].item() == pytest.approx(others, abs=1e-6)
        assert target.label_b[i] == labels[partner]
    assert torch.equal(target.label_a, labels)


# SnapMix


def pasted_by_interpolate(images, paste):
    """Cut, resize and paste, one image after the other; in double precision, not rounded."""
    results = []
    for i, partner in enumerate(paste.partner.tolist()):
        (top, left, bottom, right), source = paste.onto[i].tolist(), paste.source[i].tolist()
        content = images[partner, :, source[0] : source[2], source[1] : source[3]].double()
        sized = F.interpolate(content[None], size=(bottom - top, right - left), mode="bilinear", align_corners=True)
        result = images[i].double()
        result[:, top:bottom, left:right] = sized[0]
        results.append(result)
    return torch.stack(results)


def by_hand():
    """Boxes at the edges of what can be: whole images, single pixels, rows and columns, in and out of each other."""
    whole = (0, 0, HEIGHT, WIDTH)
    pixel, row, column, part, pair = (5, 7, 6, 8), (3, 2, 4, 30), (1, 39, 20, 40), (10, 4, 23, 11), (8, 9, 10, 11)
    onto = boxes(whole, pixel, part, row, whole, column, pair)
    source = boxes(part, whole, whole, column, pixel, row, part)
    return Paste(torch.tensor([1, 2, 0, 4, 5, 6, 3]), onto, source)


@pytest.mark.parametrize(
    "paste", [by_hand(), plan_snap(6, (HEIGHT, WIDTH), generator=seeded(1))], ids=["by hand", "drawn"]
)
def test_snapmix_pastes_the_resized_box(paste):
    b = len(paste.partner)
    images = noise(b)
    mixed, _ = snapmix(images, labels_of(b), paste, torch.rand(b, 3, 5, generator=seeded()))
    assert mixed.dtype == torch.uint8
    assert (mixed.double() - pasted_by_interpolate(images, paste)).abs().max() <= 0.5 + 1e-3


@pytest.mark.parametrize("scale", [1.0, 1e-4, 1e4])
def test_snapmix_weighs_labels_by_the_mass_of_the_maps(scale):
    images, labels = noise(), labels_of()
    paste = plan_snap(6, (HEIGHT, WIDTH), generator=seeded(5))
    maps = torch.randn(6, 3, 5, generator=seeded(6)) * scale
    _, target = snapmix(images, labels, paste, maps)
    for i, partner in enumerate(paste.partner.tolist()):
        hidden = mass_in(maps[i].double().numpy(), (HEIGHT, WIDTH), paste.onto[i].tolist())
        shown = mass_in(maps[partner].double().numpy(), (HEIGHT, WIDTH), paste.source[i].tolist())
        assert target.weight_a[i].item() == pytest.approx(1 - hidden, abs=1e-5)
        assert target.weight_b[i].item() == pytest.approx(shown, abs=1e-5)
        assert (target.label_a[i], target.label_b[i]) == (labels[i], labels[partner])
    assert ((target.weight_a + target.weight_b - 1).abs() > 0.01).any()  # they need not sum to 1


def test_maps_that_say_nothing_weigh_by_area():
    paste = plan_snap(6, (HEIGHT, WIDTH), generator=seeded(7))
    for value, shape in itertools.product((0.0, -7 / 3, 1e-20), ((1, 1), (3, 5))):
        _, target = snapmix(noise(), labels_of(), paste, torch.full((6, *shape), value))
        hidden, shown = (
            ((box[:, 2:] - box[:, :2]).prod(dim=1) / (HEIGHT * WIDTH)).tolist() for box in (paste.onto, paste.source)
        )
        assert target.weight_a.tolist() == pytest.approx([1 - share for share in hidden], abs=1e-5)
        assert target.weight_b.tolist() == pytest.approx(shown, abs=1e-5)


def test_an_empty_box_leaves_the_image_and_its_label():
    images, some, empty = noise(3), (2, 3, 9, 20), (5, 5, 5, 9)
    paste = Paste(torch.tensor([1, 2, 0]), boxes(empty, some, empty), boxes(some, empty, empty))
    mixed, target = snapmix(images, labels_of(3), paste, torch.rand(3, 2, 2, generator=seeded()))
    assert torch.equal(mixed, images)
    assert target.weight_a.tolist() == [1, 1, 1]
    assert target.weight_b.tolist() == [0, 0, 0]
    mixed, target = cutmix(images, labels_of(3), Paste(paste.partner, paste.source, paste.source))
    assert torch.equal(mixed[1:], images[1:])
    assert target.weight_a[1:].tolist() == [1, 1]
    assert target.weight_b[1:].tolist() == [0, 0]


def test_working_piece_by_piece_changes_nothing(monkeypatch):
    images, labels, maps = noise(), labels_of(), torch.randn(6, 3, 5, generator=seeded())
    blend, paste = plan_blend(6, generator=seeded()), plan_snap(6, (HEIGHT, WIDTH), generator=seeded(1))
    whole = [*parts(mixup(images, labels, blend)), *parts(snapmix(images, labels, paste, maps))]
    monkeypatch.setattr(mixing, "PIECE", 4 * images[0].numel())
    sizes, lerp = [], torch.lerp
    monkeypatch.setattr(torch, "lerp", lambda a, b, lam: sizes.append(len(a)) or lerp(a, b, lam))
    pieces = [*parts(mixup(images, labels, blend)), *parts(snapmix(images, labels, paste, maps))]
    assert all(torch.equal(a, b) for a, b in zip(whole, pieces, strict=True))
    assert sizes == [4, 2]


# The rows of AUGMENTATIONS


def augmented(name, images, labels, r, seed=0, config=None, attention=None):
    maps = torch.rand(len(images), 2, 2, generator=seeded(9))
    row = AUGMENTATIONS[name]
    return row.augment(images, labels, r, seeded(seed), config or TrainConfig(), attention or (lambda: maps))


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_r_0_leaves_image_and_label_and_only_rows_that_attend_ask_where_the_network_looks(name):
    def attention():
        asked.append(name)
        return torch.rand(6, 2, 2)

    asked, images, labels = [], noise(), labels_of()
    shown, target = augmented(name, images, labels, 0, attention=attention)
    assert torch.equal(shown, images)
    assert torch.equal(target.label_a, labels)
    assert (target.weight_a.tolist(), target.weight_b.tolist(), asked) == ([1] * 6, [0] * 6, [])
    augmented(name, images, labels, 2, attention=attention)
    assert len(asked) == AUGMENTATIONS[name].attends
    alone, target = augmented(name, images[:1], labels[:1], 2)
    assert alone.shape == images[:1].shape
    assert target.label_a.tolist() == target.label_b.tolist() == [0], "its own partner"


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("per_image", [True, False])
def test_a_seed_repeats_another_differs_and_the_images_stay(name, per_image):
    images, labels, config = noise(), labels_of(), TrainConfig(per_image=per_image)
    before = images.clone()
    first, again, other = (augmented(name, images, labels, 2, seed, config) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(parts(first), parts(again), strict=True))
    assert torch.equal(images, before)
    assert first[0].dtype == torch.uint8
    assert first[0].shape == images.shape
    if name != "none":
        assert not torch.equal(first[0], other[0])
        assert not torch.equal(first[0], images)


@pytest.mark.parametrize("name", ["jigsaw", "rmg"])
def test_settings_reach_the_rows_that_permute(name):
    image = noise(1).expand(8, -1, -1, -1)
    own, _ = augmented(name, image, labels_of(8), 1)
    shared, _ = augmented(name, image, labels_of(8), 1, config=TrainConfig(per_image=False))
    assert len(own.unique(dim=0)) > 1
    assert len(shared.unique(dim=0)) == 1
    # Of a cycle no patch stays: not one of the image's four quarters is where it was.
    cycled, _ = augmented(name, image, labels_of(8), 1, config=TrainConfig(permutation="cycle"))
    for top, left in itertools.product((0, HEIGHT // 2), (0, WIDTH // 2)):
        there = (..., slice(top, top + HEIGHT // 2), slice(left, left + WIDTH // 2))
        assert not (cycled[there] == image[there]).flatten(1).all(dim=1).any()


@pytest.mark.parametrize("name", ["cutmix", "mixup", "snapmix"])
def test_settings_reach_the_rows_that_mix(name):
    for per_image in (True, False):
        config, nothing = TrainConfig(per_image=per_image), torch.zeros(8, 2, 2)
        _, target = augmented(name, noise(8), labels_of(8), 1, config=config, attention=lambda maps=nothing: maps)
        counts = [len(weight.unique()) for weight in (target.weight_a, target.weight_b)]
        assert min(counts) > 4 if per_image else counts == [1, 1]
