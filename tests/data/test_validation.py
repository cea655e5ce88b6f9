"""The validation part of training images, and classes that are left out."""

import random
from dataclasses import replace

import pytest

from pmsi.base.errors import DataError, UnknownName
from pmsi.data.dataset import Dataset, Sample, hold_back, leave_out
from pmsi.data.plumage import fresh, plumage
from pmsi.data.record import DataRecord, compare


def made(names=str, order=lambda samples: samples):
    samples = [
        Sample(names(f"{label}/{i}"), label, digest=f"{label}{i // 2:031x}") for label in range(3) for i in range(40)
    ]
    samples += [Sample(names("twin"), 1, digest=samples[0].digest)]  # a picture of class 0 that is in class 1 too
    return Dataset("set", ("a", "b", "c"), tuple(order(samples)), (), open_image=lambda sample: None)


def held(dataset):
    return sorted((one.label, one.digest) for one in dataset.validation)


def test_the_same_pixels_are_held_back_in_any_order_and_under_any_name():
    parts = [hold_back(made(), 0.1, 0), hold_back(made(names=lambda key: f"x/{key}"), 0.1, 0)]
    parts.append(hold_back(made(order=lambda samples: random.Random(0).sample(samples, len(samples))), 0.1, 0))
    assert held(parts[0]) == held(parts[1]) == held(parts[2])
    assert {label: len({digest for one, digest in held(parts[0]) if one == label}) for label in (0, 2)} == {0: 2, 2: 2}
    assert {one.digest for one in parts[0].train}.isdisjoint(one.digest for one in parts[0].validation)
    assert len(parts[0].train) + len(parts[0].validation) == 121
    assert held(hold_back(made(), 0.1, 1)) != held(parts[0])
    assert {digest for _, digest in held(parts[0])} < {digest for _, digest in held(hold_back(made(), 0.2, 0))}


def test_no_share_is_no_change_and_one_that_is_too_small_is_refused():
    assert hold_back(dataset := made(), 0.0, 0) is dataset
    with pytest.raises(DataError, match=r"validation = 0\.01"):
        hold_back(made(), 0.01, 0)


def test_classes_that_are_left_out_are_in_no_split_and_the_others_keep_their_names():
    whole = plumage(train_per_class=2, test_per_class=1)
    left = leave_out(whole, whole.classes[:2])
    assert left.classes == whole.classes[2:]
    assert {(one.key, left.classes[one.label]) for one in left.train} == {
        (one.key, whole.classes[one.label]) for one in whole.train if one.label > 1
    }
    same = {one.key: one for one in whole.train}
    assert all(left.open_image(one) == whole.open_image(same[one.key]) for one in left.train[:3])
    with pytest.raises(UnknownName, match="Phoenix"):
        leave_out(whole, ["Phoenix"])
    birds = fresh(left, 3)
    assert {left.classes[one.label] for one in birds} == set(left.classes)
    assert {one.digest for one in birds}.isdisjoint(one.digest for one in whole.samples)


def test_a_record_keeps_the_part_and_a_test_image_from_it_is_unfair():
    dataset = hold_back(plumage(train_per_class=4, test_per_class=1), 0.25, 0)
    record = DataRecord.of(dataset)
    assert DataRecord.from_bytes(record.to_bytes()) == record
    assert len(record.validation) == 12
    assert record.changes(replace(record, validation=record.validation[1:]))
    other = replace(record, test=(*record.test, record.validation[0]), validation=())
    assert compare(record, other).leaked == 1
