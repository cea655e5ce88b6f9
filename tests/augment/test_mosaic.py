"""G(p, r) against a plain-loop version of section III-B, and the properties that make it a mosaic."""

import itertools
from collections import Counter

import pytest
import torch
from loops import mosaic_by_loops, numbered, seeded

from pmsi.augment.mosaic import MAX_RECURSIONS, Layout, apply, plan, recursive_mosaic
from pmsi.base.errors import ConfigError, UnknownName


@pytest.mark.parametrize("r", range(5))
@pytest.mark.parametrize("permutation", ["uniform", "cycle"])
def test_equals_the_plain_loop_and_can_be_undone(r, permutation):
    images = numbered()
    layout = plan(3, r, generator=seeded(r), permutation=permutation)
    expected = torch.stack([mosaic_by_loops(images[i], layout, i) for i in range(3)])
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
    assert torch.equal(moved, torch.stack([mosaic_by_loops(images[i], layout, i) for i in range(2)]))


def test_r_0_is_a_copy_and_without_a_generator_the_global_one_is_left_alone():
    images, state = numbered(8, 2, 32, 48), torch.get_rng_state()
    result = recursive_mosaic(images, 0)
    assert torch.equal(result, images)
    assert result.data_ptr() != images.data_ptr()
    assert not torch.equal(recursive_mosaic(images, 3), recursive_mosaic(images, 3))
    assert torch.equal(state, torch.get_rng_state())


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


def test_an_image_draws_its_own_layout_whatever_the_batch_size_or_r_unless_told_otherwise():
    large, small = plan(64, 3, generator=seeded(7)), plan(5, 2, generator=seeded(7))
    assert torch.equal(large.orders[:5, :2], small.orders)
    assert torch.equal(large.picks[:5, :2], small.picks)
    assert not torch.equal(plan(64, 3, generator=seeded(8)).orders, large.orders)
    shared = plan(64, 3, generator=seeded(), per_image=False)
    assert (len(large.orders.unique(dim=0)) > 40, len(shared.orders.unique(dim=0))) == (True, 1)
    assert len(shared.picks.unique(dim=0)) == 1


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
    def is_4_cycle(order):
        return len({0, order[0], order[order[0]], order[order[order[0]]]}) == 4

    drawn = {tuple(order) for order in plan(2000, 1, generator=seeded(), permutation="cycle").orders[:, 0].tolist()}
    assert drawn == {order for order in itertools.permutations(range(4)) if is_4_cycle(order)}


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


def test_bad_input_is_refused_sizes_with_the_nearest_that_can_be_cut():
    for size, nearest in (((30, 32), "32 × 32"), ((32, 44), "32 × 48"), ((2, 8), "8 × 8")):
        with pytest.raises(ConfigError, match=f"{size[0]} × {size[1]}.*{nearest}"):
            recursive_mosaic(torch.zeros(1, 3, *size), 3)
    for r in (-1, MAX_RECURSIONS + 1):
        with pytest.raises(ConfigError, match=f"r = {r}"):
            recursive_mosaic(numbered(), r)
    with pytest.raises(UnknownName, match="uniform, cycle"):
        recursive_mosaic(numbered(), 1, permutation="any")
    with pytest.raises(ConfigError, match="Expected 2 images"):
        apply(numbered(), plan(2, 1))
    with pytest.raises(ConfigError, match="r = 3"):
        plan(2, 2).first(3)
    bad_order, bad_pick = ({"orders": [[[0, 1, 2, last]]], "picks": [[pick]]} for last, pick in ((2, 0), (3, 4)))
    for stored in ({}, {"orders": 3, "picks": []}, bad_order, bad_pick):
        with pytest.raises(ConfigError, match="not a mosaic layout"):
            Layout.from_json(stored)
