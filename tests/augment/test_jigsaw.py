"""The jigsaw against a plain loop, and its two draws against what they promise."""

import itertools
from collections import Counter

import pytest
import torch
from loops import numbered, seeded

from pmsi.augment.jigsaw import apply, jigsaw_patches, plan
from pmsi.augment.mosaic import MAX_RECURSIONS
from pmsi.base.errors import ConfigError, UnknownName


def by_loops(image, cells):
    """Cut the image n×n and lay the patches down again, one by one."""
    n = len(cells)
    height, width = image.shape[1] // n, image.shape[2] // n
    result = torch.empty_like(image)
    for y, x in itertools.product(range(n), repeat=2):
        from_y, from_x = divmod(int(cells[y][x]), n)
        patch = image[:, from_y * height : (from_y + 1) * height, from_x * width : (from_x + 1) * width].clone()
        result[:, y * height : (y + 1) * height, x * width : (x + 1) * width] = patch
    return result


def cycle_length(order):
    """How many steps it takes from patch 0 back to it."""
    place, steps = order[0], 1
    while place != 0:
        place, steps = order[place], steps + 1
    return steps


@pytest.mark.parametrize(("r", "permutation"), [(0, "uniform"), (1, "cycle"), (2, "uniform"), (3, "cycle")])
def test_equals_the_plain_loop(r, permutation):
    images, before = numbered(), numbered()
    cells = plan(3, r, generator=seeded(r), permutation=permutation)
    assert cells.shape == (3, 2**r, 2**r)
    expected = torch.stack([by_loops(image, drawn.tolist()) for image, drawn in zip(images, cells, strict=True)])
    assert torch.equal(apply(images, cells), expected)
    assert torch.equal(jigsaw_patches(images, r, generator=seeded(r), permutation=permutation), expected)
    assert torch.equal(images, before)


@pytest.mark.parametrize(("width", "offset"), [(2, 0), (24, 1), (12, 2), (20, 4), (32, 0)])
def test_bytes_move_whatever_their_number_and_wherever_they_begin(width, offset):
    memory = torch.randint(0, 256, (offset + 2 * 3 * 8 * width,), dtype=torch.uint8, generator=seeded())
    images, cells = memory[offset:].reshape(2, 3, 8, width), plan(2, 1, generator=seeded(1))
    assert torch.equal(apply(images, cells), torch.stack([by_loops(images[i], cells[i].tolist()) for i in range(2)]))


def test_gradients_go_where_the_pixels_came_from():
    images = torch.rand(1, 1, 8, 8, generator=seeded(), requires_grad=True)
    cells = plan(1, 2, generator=seeded(1))
    weights = torch.arange(64.0).reshape(1, 1, 8, 8)
    (apply(images, cells) * weights).sum().backward()
    assert torch.equal(apply(images.grad, cells), weights)


def test_every_order_and_every_cycle_of_four_patches_is_as_likely():
    every = list(itertools.permutations(range(4)))
    cycles = [order for order in every if cycle_length(order) == 4]
    for permutation, orders, limit in (("uniform", every, 49.7), ("cycle", cycles, 20.5)):  # 99.9 %, 23 and 5 degrees
        drawn = plan(1000 * len(orders), 1, generator=seeded(2), permutation=permutation).reshape(-1, 4)
        counts = Counter(map(tuple, drawn.tolist()))
        assert set(counts) == set(orders)
        assert sum((count - 1000) ** 2 / 1000 for count in counts.values()) < limit
    for order in plan(50, 3, generator=seeded(), permutation="cycle").reshape(50, -1).tolist():
        assert sorted(order) == list(range(64))
        assert cycle_length(order) == 64, "it goes through all patches"


@pytest.mark.parametrize("permutation", ["uniform", "cycle"])
def test_an_image_gets_its_own_jigsaw_whatever_the_batch_size_unless_told_otherwise(permutation):
    own = plan(50, 3, generator=seeded(7), permutation=permutation)
    assert torch.equal(own[:5], plan(5, 3, generator=seeded(7), permutation=permutation))
    assert not torch.equal(own, plan(50, 3, generator=seeded(8), permutation=permutation))
    shared = plan(50, 3, generator=seeded(7), permutation=permutation, per_image=False)
    assert (len(own.unique(dim=0)), len(shared.unique(dim=0)), len(shared)) == (50, 1, 50)


def test_bad_input_is_refused():
    with pytest.raises(ConfigError, match=r"r = -1.*0 to 8"):
        plan(2, -1, generator=seeded())
    with pytest.raises(ConfigError, match=f"r = {MAX_RECURSIONS + 1}"):
        plan(2, MAX_RECURSIONS + 1, generator=seeded())
    with pytest.raises(UnknownName, match="uniform, cycle"):
        plan(2, 1, generator=seeded(), permutation="any")
    with pytest.raises(ConfigError, match="Expected 2 images"):
        apply(numbered(), plan(2, 1, generator=seeded()))
    with pytest.raises(ConfigError, match=r"30 × 32.*32 × 32"):
        jigsaw_patches(torch.zeros(1, 3, 30, 32), 3, generator=seeded())
