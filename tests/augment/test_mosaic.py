"""G(p, r) against a plain-loop version of section III-B, and the properties that make it a mosaic."""

import itertools
from collections import Counter

import pytest
import torch

from pmsi.augment.mosaic import MAX_RECURSIONS, Layout, apply, plan, recursive_mosaic, source_cells
from pmsi.base.errors import ConfigError, UnknownName


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def numbered(b=3, c=2, h=32, w=48):
    """Images whose every pixel is another number."""
    return torch.arange(b * c * h * w).reshape(b, c, h, w)


def by_loops(image, orders, picks):
    """Section III-B in words: cut the block in four, permute, choose one of the four as the next block."""
    image = image.clone()
    top, left, (height, width) = 0, 0, image.shape[-2:]
    for order, pick in zip(orders.tolist(), picks.tolist(), strict=True):
        h, w = height // 2, width // 2
        corners = [(top, left), (top, left + w), (top + h, left), (top + h, left + w)]
        patches = [image[:, y : y + h, x : x + w].clone() for y, x in corners]
        for place, (y, x) in enumerate(corners):
            image[:, y : y + h, x : x + w] = patches[order[place]]
        (top, left), height, width = corners[pick], h, w
    return image


@pytest.mark.parametrize("r", range(5))
@pytest.mark.parametrize("permutation", ["uniform", "cycle"])
def test_equals_the_plain_loop_and_can_be_undone(r, permutation):
    images = numbered()
    layout = plan(3, r, generator=seeded(r), permutation=permutation)
    expected = torch.stack([by_loops(images[i], layout.orders[i], layout.picks[i]) for i in range(3)])
    moved = apply(images, layout)
    assert torch.equal(moved, expected)
    assert torch.equal(apply(moved, layout, inverse=True), images)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bool])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_moves_pixels_of_any_type_and_memory_layout(dtype, memory_format):
    images = (torch.rand(2, 3, 16, 16, generator=seeded()) * 200).to(dtype)
    layout = plan(2, 2, generator=seeded(1))
    moved = apply(images.contiguous(memory_format=memory_format), layout)
    assert moved.dtype == dtype
    assert torch.equal(moved, torch.stack([by_loops(images[i], layout.orders[i], layout.picks[i]) for i in range(2)]))


def test_r_0_is_the_image_itself_but_not_the_same_memory():
    images = numbered()
    result = recursive_mosaic(images, 0)
    assert torch.equal(result, images)
    result[0] = 0
    assert images[0].any()


@pytest.mark.parametrize("r", [1, 2, 3])
def test_patches_have_the_paper_s_sizes(r):
    """With 448 px: patches of 224, 112, 56; one recursion deep in one block, and three patches of each size left."""
    cells = source_cells(plan(1, r, generator=seeded(2), permutation="cycle"))[0]
    g = 2**r
    # An even block of cells is a patch of that size if it shows an even block of the image, its cells in order.
    whole = Counter()
    for level in range(r):
        side = g >> (level + 1)
        for y, x in itertools.product(range(0, g, side), repeat=2):
            block = cells[y : y + side, x : x + side]
            first = int(block[0, 0])
            in_order = first + torch.arange(side)[:, None] * g + torch.arange(side)
            whole[448 >> (level + 1)] += int(torch.equal(block, in_order))
    assert whole[448 >> r] >= 4
    assert all(whole[448 >> level] >= 3 for level in range(1, r))


def test_the_recursions_stay_inside_the_block_that_was_picked():
    layout = plan(1, 3, generator=seeded(3))
    images = numbered(1, 1, 64, 64)
    for k in (1, 2):
        before, after = apply(images, layout.first(k)), apply(images, layout.first(k + 1))
        x, y, side = (round(64 * value) for value in layout.recursions()[k].block)
        outside = torch.ones(64, 64, dtype=torch.bool)
        outside[y : y + side, x : x + side] = False
        assert torch.equal(before[..., outside], after[..., outside])
        assert side == 64 >> k


def test_same_seed_same_layout_whatever_the_batch_size_or_r():
    large, small = plan(64, 3, generator=seeded(7)), plan(5, 2, generator=seeded(7))
    assert torch.equal(large.orders[:5, :2], small.orders)
    assert torch.equal(large.picks[:5, :2], small.picks)
    assert not torch.equal(plan(64, 3, generator=seeded(8)).orders, large.orders)


def test_images_of_a_batch_draw_their_own_layout_unless_told_otherwise():
    own, shared = plan(50, 2, generator=seeded()), plan(50, 2, generator=seeded(), per_image=False)
    assert len({str(order) for order in own.orders.tolist()}) > 30
    assert len({str(order) for order in shared.orders.tolist()}) == 1
    assert len({str(pick) for pick in shared.picks.tolist()}) == 1


def test_permutations_are_uniform_over_the_24_and_picks_over_the_4():
    layout = plan(24_000, 2, generator=seeded(5))
    orders = Counter(tuple(order) for order in layout.orders[:, 0].tolist())
    assert set(orders) == set(itertools.permutations(range(4)))
    chi_square = sum((count - 1000) ** 2 / 1000 for count in orders.values())
    assert chi_square < 49.7  # 99.9 % quantile with 23 degrees of freedom
    picks = Counter(layout.picks[:, 0].tolist())
    assert sum((count - 6000) ** 2 / 6000 for count in picks.values()) < 16.3  # 3 degrees of freedom
    # Order and pick, and the two recursions, are independent: a pair is as frequent as the product says.
    pairs = Counter(zip(layout.picks[:, 0].tolist(), layout.orders[:, 1, 0].tolist(), strict=True))
    assert sum((count - 1500) ** 2 / 1500 for count in pairs.values()) < 37.7  # 15 degrees of freedom


def test_cycle_draws_only_the_six_4_cycles():
    drawn = {tuple(order) for order in plan(2000, 1, generator=seeded(), permutation="cycle").orders[:, 0].tolist()}

    def is_4_cycle(order):
        place, seen = 0, []
        while place not in seen:
            seen.append(place)
            place = order[place]
        return len(seen) == 4

    assert drawn == {order for order in itertools.permutations(range(4)) if is_4_cycle(order)}
    assert len(drawn) == 6


def test_without_a_generator_the_global_one_is_left_alone():
    state = torch.get_rng_state()
    first, second = recursive_mosaic(numbered(8), 3), recursive_mosaic(numbered(8), 3)
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.equal(first, second)


def test_a_layout_can_be_stored_and_replayed():
    images, layout = numbered(), plan(3, 3, generator=seeded())
    for stored in (layout, layout[1:3], layout.first(0)):
        again = Layout.from_json(stored.to_json())
        assert torch.equal(again.orders, stored.orders)
        assert torch.equal(again.picks, stored.picks)
    assert torch.equal(apply(images, Layout.from_json(layout.to_json())), apply(images, layout))
    assert torch.equal(apply(images[1:2], layout[1]), apply(images, layout)[1:2])
    assert [one.to_json() for one in layout] == [layout[i].to_json() for i in (0, 1, -1)]
    with pytest.raises(IndexError, match="Image 3 of a layout of 3"):
        layout[3]


@pytest.mark.parametrize(
    "stored",
    [
        {},
        {"orders": 3, "picks": []},
        {"orders": [[[0, 1, 2, 2]]], "picks": [[0]]},
        {"orders": [[[0, 1, 2, 3]]], "picks": [[4]]},
    ],
)
def test_what_is_no_layout_is_refused(stored):
    with pytest.raises(ConfigError, match="not a mosaic layout"):
        Layout.from_json(stored)


@pytest.mark.parametrize(("size", "nearest"), [((30, 32), "32 × 32"), ((32, 44), "32 × 48"), ((2, 8), "8 × 8")])
def test_sizes_that_cannot_be_cut_are_refused_with_the_nearest_that_can(size, nearest):
    with pytest.raises(ConfigError, match=f"{size[0]} × {size[1]}.*{nearest}"):
        recursive_mosaic(torch.zeros(1, 3, *size), 3)


def test_other_bad_input_is_refused():
    with pytest.raises(ConfigError, match="r = -1"):
        recursive_mosaic(numbered(), -1)
    with pytest.raises(ConfigError, match=f"r = {MAX_RECURSIONS + 1}"):
        recursive_mosaic(numbered(), MAX_RECURSIONS + 1)
    with pytest.raises(UnknownName, match="uniform, cycle"):
        recursive_mosaic(numbered(), 1, permutation="any")
    with pytest.raises(ConfigError, match="Expected 2 images"):
        apply(numbered(3), plan(2, 1))
    with pytest.raises(ConfigError, match="r = 3"):
        plan(2, 2).first(3)
