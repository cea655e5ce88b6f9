"""Batches of item numbers: each epoch a new order, each class as often as promised, and every item its turn."""

from collections import Counter

import numpy as np
import pytest

from pmsi.base.errors import ConfigError
from pmsi.base.seeding import derive
from pmsi.data.sampling import balanced, check_balanced, sampler, shuffled

LABELS = [0] * 9 + [2] * 4 + [1] * 6 + [4] * 5 + [3] * 3


def test_shuffled_shows_each_item_once_and_leaves_out_what_fills_no_batch():
    """By the rule that old checkpoints were trained on: a permutation seeded by ("shuffle", seed, epoch), cut."""
    order = np.random.default_rng(derive("shuffle", 3, 7)).permutation(22)
    assert shuffled(22, 5, 3, 7) == [order[i : i + 5].tolist() for i in (0, 5, 10, 15)]
    assert len(shuffled(20, 5, 0, 0)) == 4
    left_out = {frozenset(range(22)) - {i for batch in shuffled(22, 5, 0, epoch) for i in batch} for epoch in range(9)}
    assert len(left_out) > 1


@pytest.mark.parametrize(("batch_size", "images_per_class"), [(8, 4), (6, 3), (6, 2), (20, 4)])
def test_a_balanced_batch_holds_so_many_images_of_each_of_its_classes(batch_size, images_per_class):
    """They stand together, so that equal shares of a batch keep their pairs."""
    for epoch in range(3):
        batches = balanced(LABELS, batch_size, images_per_class, 0, epoch)
        assert len(batches) == 27 // batch_size
        for batch in batches:
            classes = set()
            for start in range(0, batch_size, images_per_class):
                items = batch[start : start + images_per_class]
                (label,) = {LABELS[item] for item in items}
                assert len(set(items)) == min(images_per_class, LABELS.count(label))
                classes.add(label)
            assert len(classes) == batch_size // images_per_class


@pytest.mark.parametrize("images_per_class", [2, 3, 4])
def test_every_image_of_a_class_is_dealt_before_one_comes_again(images_per_class):
    """Seven images, dealt a few at a time in each of many batches: no batch has one twice, and none falls behind."""
    labels, seen = [0] * 200 + [1] * 7, Counter(dict.fromkeys(range(200, 207), 0))
    for batch in balanced(labels, 2 * images_per_class, images_per_class, 5, 1):
        dealt = [item for item in batch if labels[item] == 1]
        assert len(set(dealt)) == images_per_class
        seen.update(dealt)
        assert max(seen.values()) - min(seen.values()) <= 1
    assert min(seen.values()) > 10


def test_a_class_that_is_too_small_repeats_its_images_evenly():
    labels = [0] * 2 + [1] * 3 + [2] * 40
    for batch in balanced(labels, 12, 4, 0, 0):
        assert sorted(Counter(item for item in batch if labels[item] == 0).values()) == [2, 2]
        assert sorted(Counter(item for item in batch if labels[item] == 1).values()) == [1, 1, 2]


def test_all_classes_have_their_turn_and_balanced_draws_depend_on_seed_and_epoch_alone():
    draws = {(seed, epoch): balanced(LABELS, 8, 4, seed, epoch) for seed in range(3) for epoch in range(10)}
    seen = {LABELS[item] for batches in draws.values() for batch in batches for item in batch}
    assert seen == set(range(5))
    assert len({str(batches) for batches in draws.values()}) == len(draws)
    assert balanced(LABELS, 8, 4, 2, 9) == draws[2, 9]


@pytest.mark.parametrize(
    ("labels", "batch_size", "message"),
    [
        ([0, 0, 1, 1, 1], 12, r"batch_size = 12 .* asks for 3 classes .* only 2 have .* Lower batch_size to 8 or less"),
        ([0, 0, 1, 2, 2], 8, r"Class 'wren' has one training image.*pairs"),
        ([0, 0, 1, 1, 2, 2], 10, r"batch_size = 10.*must be a multiple of 4"),
    ],
)
def test_labels_that_allow_no_balanced_batches_are_refused_by_number_and_name(labels, batch_size, message):
    with pytest.raises(ConfigError, match=message):
        sampler(labels, ("crow", "wren", "swift", "tern"), batch_size, 4)
    sampler(labels, ("crow", "wren", "swift", "tern"), batch_size, None)


def test_a_class_without_training_images_is_no_obstacle():
    check_balanced([0, 0, 2, 2], ("crow", "wren", "swift"), 8, 4)
    assert all(set(batch) == {0, 1, 2, 3} for batch in balanced([0, 0, 2, 2], 4, 2, 0, 0))
