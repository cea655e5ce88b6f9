"""The patch rule of section III-B: a phase's smallest patch must be smaller than its stage's receptive field.

Otherwise, according to the paper, the stage is harder to train.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pmsi.base.errors import ConfigError
from pmsi.model.batch import STAGES

MAX_R = 3
"""The paper's largest reasonable r; with StageNum > 3 the first phases have r = 3."""


def recursions_of(stage: int) -> int:
    """Return r of the phase that trains stage n: N − n + 1 (Algorithm 1), at most `MAX_R`."""
    return min(STAGES - stage + 1, MAX_R)


@dataclass(frozen=True, slots=True)
class PhaseRule:
    """The rule for one phase; ``smallest_patch`` and ``receptive_field`` are sides in pixels of the image."""

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
    """Return the rule for phases 1…StageNum; the last phase, concat on the whole image, has no patches.

    ``receptive_fields`` are those of S1…S5 in pixels. If 2^r does not divide the size, the patch is rounded down; see
    `nearest_size`.
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
    """Return the nearest multiple of 2^r to ``image_size`` (the larger of two), at least 2^r."""
    cells = 2**r
    return max(cells, (image_size + cells // 2) // cells * cells)


def largest_size(rules: Sequence[PhaseRule]) -> int:
    """Return the largest image size that fulfils the rule in all these phases and that their largest 2^r divides."""
    cells = 2 ** max(rule.r for rule in rules)
    limit = min(rule.receptive_field * 2**rule.r for rule in rules)
    return max(0, (limit - 1) // cells * cells)
