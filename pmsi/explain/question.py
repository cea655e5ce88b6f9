"""What is asked of a model about its maps of a data set, and how an answer about one image is written down."""

from dataclasses import dataclass

from pmsi.explain.cam import DEFAULT_STAGES

TOLERANCE = 15.0
"""Pixels by which a peak may miss its region: the pointing game's own."""

Numbers = dict[str, float]
"""By "SOURCE/MEASURE" a number about one image; one that has no value is left out.

Sources are a stage, the same with "random " before it, "edges" and "centre". Of a region, measures are "pointing" and
"energy" in [0, 1], and "area" without a source is the region's share of the image: chance. Of pixels taken away they
are "deletion" (less is better) and "insertion" in [0, 1], and "road" in [−1/2, 1/2]. Of two maps of an image they are
the fields of `pmsi.explain.drift.Drift`.
"""


@dataclass(frozen=True)
class Question:
    """What is asked: by which row of CAM_METHODS, of which output (by default the primary one), of which stages.

    ``tolerance`` is in pixels of the network's input; ``seed`` is that of every draw. ``trials_per_class`` test images
    of each class are put to trial (`pmsi.explain.trials`), with the perturbations that ``drift`` lists
    as in "rotation=10,20".
    """

    method: str = "gradcam"
    head: str | None = None
    stages: tuple[str, ...] = DEFAULT_STAGES
    tolerance: float = TOLERANCE
    seed: int = 0
    trials_per_class: int = 0
    drift: tuple[str, ...] = ()
