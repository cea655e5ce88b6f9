"""The patch rule of section III-B: a phase's smallest patch must be smaller than its stage's receptive field.

Otherwise, the paper says, the stage is harder to train. This module knows numbers only: no image, no network.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pmsi.base.errors import ConfigError
from pmsi.model.batch import STAGES

MAX_R = 3
"""r ≤ 3 is the paper's reasonable range: with StageNum > 3 the first phases share r = 3."""


def recursions_of(stage: int) -> int:
    """Return r of the phase that trains stage n: N − n + 1 (Algorithm 1), at most `MAX_R`."""
    return min(STAGES - stage + 1, MAX_R)


@dataclass(frozen=True, slots=True)
class PhaseRule:
    """What the rule says of one phase. ``smallest_patch`` and ``receptive_field`` are sides in pixels of the image."""

    phase: int
    stage: str
    r: int
    smallest_patch: int
    receptive_field: int

    @property
    def ok(self) -> bool:
        """Whether the rule holds."""
        return self.smallest_patch < self.receptive_field


def patch_rule(image_size: int, receptive_fields: Sequence[int], stage_num: int) -> list[PhaseRule]:
    """Return the rule for phases 1…StageNum (the last phase, concat on the whole image, has no patches).

    ``receptive_fields`` are those of S1…S5, in pixels. A size that 2^r does not divide is judged by the patch rounded
    down; see `nearest_size`.
    """
    if not 1 <= stage_num <= len(receptive_fields) or len(receptive_fields) != STAGES:
        raise ConfigError(
            f"stage_num = {stage_num} with {len(receptive_fields)} receptive fields: expected one receptive field for "
            f"each of {STAGES} stages, and StageNum from 1 to {STAGES}."
        )
    rules = []
    for phase in range(1, stage_num + 1):
        stage = STAGES - stage_num + phase
        r = recursions_of(stage)
        rules.append(PhaseRule(phase, f"S{stage}", r, image_size // 2**r, receptive_fields[stage - 1]))
    return rules


def nearest_size(image_size: int, r: int = MAX_R) -> int:
    """Return the multiple of 2^r that is nearest to ``image_size`` (of two, the larger), at least 2^r."""
    cells = 2**r
    return max(cells, (image_size + cells // 2) // cells * cells)


def largest_size(rules: Sequence[PhaseRule]) -> int:
    """Return the largest image size that keeps the rule in all these phases and that their deepest 2^r divides."""
    cells = 2 ** max(rule.r for rule in rules)
    limit = min(rule.receptive_field * 2**rule.r for rule in rules)
    return max(0, (limit - 1) // cells * cells)
