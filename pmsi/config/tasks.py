"""The configs of the tasks that measure training runs: accuracy, robustness, maps."""

from dataclasses import dataclass
from typing import ClassVar

from pmsi.config.declare import Config, setting


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(Config):
    """Accuracy of every head of one finished or stopped training run."""

    task: ClassVar[str] = "evaluate"

    of: str = setting("", "Training run to evaluate (its id in the runs folder).", group="run")
    split: str = setting("test", "Which images.", group="data", options=("test", "train"))
    batch_size: int = setting(32, "Images in a batch; no result depends on it.", group="run", minimum=1, maximum=4096)


@dataclass(frozen=True, kw_only=True)
class RobustnessConfig(Config):
    """A robustness sweep: accuracy of training runs on perturbed test images, the same pixels for each run."""

    task: ClassVar[str] = "robustness"

    of: tuple[str, ...] = setting((), "Training runs to compare (ids in the runs folder).", group="run")
    perturbations: tuple[str, ...] = setting(
        ("color_jitter", "gaussian_noise"),
        "Perturbations to sweep over.",
        group="perturbation",
        options="perturbation",
    )
    severities: tuple[float, ...] | None = setting(
        None, "Severities, in each perturbation's own unit; by default its usual ones.", group="perturbation"
    )
    test_per_class: int | None = setting(
        None, "Use at most this many test images of each class; by default all.", group="data", minimum=1
    )
    batch_size: int = setting(32, "Images in a batch; no result depends on it.", group="run", minimum=1, maximum=4096)


@dataclass(frozen=True, kw_only=True)
class MapsConfig(Config):
    """Class activation maps of a training run on its test images: pointing, faithfulness, drift."""

    task: ClassVar[str] = "maps"

    of: str = setting("", "Training run to explain (its id in the runs folder).", group="run")
    method: str = setting("gradcam", "How maps are made.", group="maps", options="CAM method")
    head: str | None = setting(None, "Output to explain; by default the one that predicts.", group="maps")
    stages: tuple[str, ...] = setting(("S3", "S4", "S5"), "Stages, of S1 to S5.", group="maps")
    tolerance: float = setting(15.0, "Pixels by which a map's peak may miss its region.", group="maps", minimum=0.0)
    beside: str | None = setting(
        None, "Another training run on the same classes, whose maps are compared with this one's.", group="run"
    )
    faithfulness_per_class: int = setting(
        2,
        "Test images of each class on which deletion, insertion, ROAD and drift are measured: 200 predictions each.",
        group="maps",
        minimum=0,
        formerly="trials_per_class",
    )
    drift: tuple[str, ...] = setting(
        ("color_jitter=0.5", "gaussian_noise=20"),
        "Perturbations under which maps may drift, with their severities: rotation=10,20.",
        group="maps",
    )
    test_per_class: int | None = setting(None, "Test images of each class; by default all.", group="data", minimum=1)
    batch_size: int = setting(16, "Images in a batch; no result depends on it.", group="run", minimum=1, maximum=4096)
