"""The jigsaw against a plain loop, and its two draws against what they promise."""

import itertools
from collections import Counter

import pytest
import torch

from pmsi.augment.jigsaw import apply, jigsaw_patches, plan
from pmsi.augment.mosaic import MAX_RECURSIONS
from pmsi.base.errors import ConfigError, UnknownName


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def numbered(b=3, c=2, h=32, w=48):
    """Images whose every pixel is another number."""
    return torch.arange(b * c * h * w).reshape(b, c, h, w)


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
    images = numbered()
    cells = plan(3, r, generator=seeded(r), permutation=permutation)
    assert cells.shape == (3, 2**r, 2**r)
    expected = torch.stack([by_loops(image, drawn.tolist()) for image, drawn in zip(images, cells, strict=True)])
    assert torch.equal(apply(images, cells), expected)
    again = jigsaw_patches(images, r, generator=seeded(r), permutation=permutation)
    assert torch.equal(again, expected)


@pytest.mark.parametrize(
    ("dtype", "memory_format"), [(torch.float32, torch.contiguous_format), (torch.uint8, torch.channels_last)]
)
def test_moves_images_of_any_memory_layout_and_leaves_them_alone(dtype, memory_format):
    images = (torch.rand(2, 3, 24, 16, generator=seeded()) * 200).to(dtype).contiguous(memory_format=memory_format)
    before, cells = images.clone(), plan(2, 3, generator=seeded(1))
    moved = apply(images, cells)
    assert moved.dtype == dtype
    assert torch.equal(moved, torch.stack([by_loops(before[i], cells[i].tolist()) for i in range(2)]))
    assert torch.equal(images, before)
    assert torch.equal(moved.flatten(2).sort().values, before.flatten(2).sort().values)


@pytest.mark.parametrize(("width", "offset"), [(2, 0), (6, 1), (12, 2), (20, 4), (24, 1), (32, 0)])
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


def test_every_order_of_four_patches_is_as_likely():
    orders = Counter(tuple(order) for order in plan(24_000, 1, generator=seeded()).reshape(-1, 4).tolist())
    assert set(orders) == set(itertools.permutations(range(4)))
    assert sum((count - 1000) ** 2 / 1000 for count in orders.values()) < 49.7  # 99.9 %, 23 degrees of freedom


def test_every_patch_goes_to_every_place_as_often():
    cells = plan(16_000, 2, generator=seeded(1)).reshape(-1, 16)
    for place in range(16):
        counts = cells[:, place].bincount(minlength=16)
        assert ((counts - 1000) ** 2 / 1000).sum() < 37.7  # 99.9 %, 15 degrees of freedom


@pytest.mark.parametrize("r", [1, 2, 3])
def test_a_cycle_goes_through_all_patches_and_none_stays(r):
    for order in plan(50, r, generator=seeded(r), permutation="cycle").reshape(50, -1).tolist():
        assert cycle_length(order) == 4**r
        assert sorted(order) == list(range(4**r))


def test_every_cycle_of_four_patches_is_as_likely():
    drawn = plan(6000, 1, generator=seeded(2), permutation="cycle").reshape(-1, 4).tolist()
    cycles = Counter(tuple(order) for order in drawn)
    assert set(cycles) == {order for order in itertools.permutations(range(4)) if cycle_length(order) == 4}
    assert sum((count - 1000) ** 2 / 1000 for count in cycles.values()) < 20.5  # 99.9 %, 5 degrees of freedom


@pytest.mark.parametrize("permutation", ["uniform", "cycle"])
def test_an_image_gets_the_same_jigsaw_whatever_the_batch_size(permutation):
    large = plan(64, 3, generator=seeded(7), permutation=permutation)
    assert torch.equal(large[:5], plan(5, 3, generator=seeded(7), permutation=permutation))
    assert not torch.equal(large, plan(64, 3, generator=seeded(8), permutation=permutation))


def test_images_of_a_batch_draw_their_own_jigsaw_unless_told_otherwise():
    own, shared = plan(50, 2, generator=seeded()), plan(50, 2, generator=seeded(), per_image=False)
    assert len({str(cells) for cells in own.tolist()}) == 50
    assert len({str(cells) for cells in shared.tolist()}) == 1
    assert shared.shape == own.shape


def test_bad_input_is_refused():
    with pytest.raises(ConfigError, match=r"r = -1.*0 to 8"):
        plan(2, -1, generator=seeded())
    with pytest.raises(ConfigError, match=f"r = {MAX_RECURSIONS + 1}"):
        plan(2, MAX_RECURSIONS + 1, generator=seeded())
    with pytest.raises(UnknownName, match="uniform, cycle"):
        plan(2, 1, generator=seeded(), permutation="any")
    with pytest.raises(ConfigError, match="Expected 2 images"):
        apply(numbered(3), plan(2, 1, generator=seeded()))
    with pytest.raises(ConfigError, match=r"30 × 32.*32 × 32"):
        jigsaw_patches(torch.zeros(1, 3, 30, 32), 3, generator=seeded())
