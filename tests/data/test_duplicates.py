"""Duplicates: against a comparison of all pairs by hand, and pictures saved again in ways that people save them."""

import io

import numpy as np
import pytest
from PIL import Image

from pmsi.data import duplicates as module
from pmsi.data.dataset import Dataset, Sample
from pmsi.data.duplicates import MOST_BITS, find_duplicates, look_of, similar
from pmsi.data.images import pixels_digest


def scene(seed, side=96):
    """A picture with the spectrum of a photo: noise, the weaker the finer."""
    generator = np.random.default_rng(seed)
    picture = np.zeros((side, side, 3))
    for cells in (2, 4, 8, 16, 32):
        noise = Image.fromarray(generator.integers(0, 256, (cells, cells, 3), np.uint8))
        picture += np.asarray(noise.resize((side, side), Image.Resampling.BICUBIC), float) / cells
    return Image.fromarray((picture / picture.max() * 255).astype(np.uint8))


def sky(colour):
    """One colour, and a bird in the corner."""
    image = Image.new("RGB", (96, 96), colour)
    image.paste("black", (0, 80, 12, 96))
    return image


def saved(image, **how):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **how)
    return Image.open(buffer).convert("RGB")


def dataset_of(train, test):
    """A data set of pictures by key "class/name"."""
    classes = tuple(sorted({key.split("/")[0] for key in (*train, *test)}))
    sides = (
        tuple(
            Sample(key, classes.index(key.split("/")[0]), digest=pixels_digest(image), look=look_of(image))
            for key, image in side.items()
        )
        for side in (train, test)
    )
    return Dataset("set", classes, *sides, lambda sample: None)


def test_pictures_saved_again_are_found_across_splits_and_classes_and_others_are_not():
    one, two, three, four = (scene(seed) for seed in range(4))
    train = {
        "jay/1": one,
        "jay/2": two,
        "jay/2 again": saved(two),
        "tit/3": three,
        "tit/white": Image.new("RGB", (9, 9)),
    }
    test = {
        "jay/1 copy": one.copy(),
        "tit/2 small": saved(two.resize((48, 48)), quality=60),
        "tit/3 bright": three.point(lambda value: min(255, round(1.08 * value))),
        "jay/other colours": Image.merge("RGB", three.split()[::-1]),
        "tit/4": four,
        "jay/black": Image.new("RGB", (9, 9), "black"),
        "jay/evening sky": sky((120, 140, 220)),
    }
    train["tit/sky"] = sky((150, 200, 240))
    test["jay/black"].putpixel((0, 0), (1, 1, 1))
    found = find_duplicates(dataset_of(train, test))
    assert {(pair.a.key, pair.b.key, pair.exact) for pair in found.pairs} == {
        ("jay/1", "jay/1 copy", True),
        ("jay/2", "tit/2 small", False),
        ("jay/2 again", "tit/2 small", False),
        ("tit/3", "tit/3 bright", False),
    }
    assert (found.leaked, found.contradicted, found.complete) == (3, 2, True)
    assert find_duplicates(dataset_of(train, {"tit/4": four})).words == ""


def test_the_search_finds_what_a_comparison_of_all_pairs_finds():
    generator = np.random.default_rng(0)
    looks = generator.integers(0, 256, (300, 64), np.uint8)
    looks[150:] = looks[:150]
    for row in looks[150:]:  # copies that differ in up to 25 bits
        for bit in generator.choice(128, generator.integers(26), replace=False):
            row[bit // 8] ^= 1 << (bit % 8)
        row[16:] = np.clip(row[16:].astype(int) + generator.integers(-40, 40), 0, 255)
    sides = generator.integers(0, 2, 300)
    bits = np.unpackbits(looks[:, :16], axis=1).astype(int)
    distance = (bits[:, None] != bits[None]).sum(axis=2)
    colour = np.abs(looks[:, None, 16:].astype(int) - looks[None, :, 16:]).mean(axis=2)
    contrast = looks[:, 16:].reshape(300, 16, 3).std(axis=1).mean(axis=1)
    allowed = np.minimum(4 + 0.35 * np.minimum(contrast[:, None], contrast[None]), 24)
    near = (distance <= MOST_BITS) & (colour <= allowed) & (sides[:, None] != sides[None])
    expected = {(int(i), int(j)) for i, j in np.argwhere(near) if i < j}
    assert len(expected) > 20
    assert {*similar(looks, sides)} == expected


@pytest.mark.parametrize("most", [3, 10_000])
def test_many_copies_of_one_picture_are_cut_off_and_counted(monkeypatch, most):
    monkeypatch.setattr(module, "MOST_PAIRS", most)
    monkeypatch.setattr(module, "CHUNK", 100)
    frames = {f"jay/{i}": scene(1).point(lambda value, i=i: max(value - i, 0)) for i in range(6)}
    found = find_duplicates(dataset_of(frames, {f"{key} test": image for key, image in frames.items()}))
    assert (len(found.pairs), found.complete) == ((3, False) if most == 3 else (36, True))
    assert most == 3 or found.leaked == 6
