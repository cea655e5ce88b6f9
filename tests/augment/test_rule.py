"""The patch rule: METHOD's table for MobileNetV2 at 448 px, and what breaks it."""

import pytest

from pmsi.augment.rule import largest_size, nearest_size, patch_rule
from pmsi.base.errors import ConfigError

MOBILENET = (3, 19, 59, 267, 491)


def test_the_papers_setting_keeps_the_rule() -> None:
    rules = patch_rule(448, MOBILENET, 3)
    assert [(rule.phase, rule.stage, rule.r, rule.smallest_patch, rule.receptive_field) for rule in rules] == [
        (1, "S3", 3, 56, 59),
        (2, "S4", 2, 112, 267),
        (3, "S5", 1, 224, 491),
    ]
    assert all(rule.ok for rule in rules)


def test_r_is_clamped_to_three_and_a_wrong_stage_num_refused_by_name() -> None:
    rules = [(rule.stage, rule.r) for rule in patch_rule(448, MOBILENET, 5)]
    assert rules == [("S1", 3), ("S2", 3), ("S3", 3), ("S4", 2), ("S5", 1)]
    for stage_num in (0, 6):
        with pytest.raises(ConfigError, match=f"stage_num = {stage_num}"):
            patch_rule(448, MOBILENET, stage_num)


def test_the_largest_size_keeps_the_rule_and_the_next_one_breaks_it() -> None:
    largest = largest_size(patch_rule(448, MOBILENET, 3))
    assert largest == 58 * 8
    assert all(rule.ok for rule in patch_rule(largest, MOBILENET, 3))
    assert [rule.ok for rule in patch_rule(largest + 8, MOBILENET, 3)] == [False, True, True]
    assert [nearest_size(size) for size in (448, 450, 452, 225, 3)] == [448, 448, 456, 224, 8]
