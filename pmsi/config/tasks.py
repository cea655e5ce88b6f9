"""The configs of the tasks that measure training runs: accuracy, robustness, maps."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Self

from pmsi.base.files import expanded
from pmsi.config.declare import Config, setting

# A field's group is a tab of the form, and a section of the help.
_run = partial(setting, group="run")
_data = partial(setting, group="data")
_perturbation = partial(setting, group="perturbation")
_maps = partial(setting, group="maps")


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(Config):
    """Accuracy of every head of one finished or stopped training run."""

    task: ClassVar[str] = "evaluate"

    of: str = _run("", "Training run to evaluate (its id in the runs folder).")
    split: str = _data("test", "Which images.", options=("test", "train", "validation"))
    batch_size: int = _run(32, "Images in a batch; no result depends on it.", between=(1, 4096))


@dataclass(frozen=True, kw_only=True)
class RobustnessConfig(Config):
    """A robustness sweep: accuracy of training runs on perturbed test images, the same pixels for each run."""

    task: ClassVar[str] = "robustness"

    of: tuple[str, ...] = _run((), "Training runs to compare (ids in the runs folder), or paths of exported files.")
    perturbations: tuple[str, ...] = _perturbation(
        ("color_jitter", "gaussian_noise"), "Perturbations to sweep over.", options="perturbation"
    )
    severities: tuple[float, ...] | None = _perturbation(
        None, "Severities, in each perturbation's own unit; by default its usual ones."
    )
    test_per_class: int | None = _data(
        None, "Use at most this many test images of each class; by default all.", minimum=1
    )
    data: str | None = _data(None, "Where all are exported files: the folder of the data set of their training.")
    batch_size: int = _run(32, "Images in a batch; no result depends on it.", between=(1, 4096))

    def located(self) -> Self:
        """Return the config with ``data`` as an absolute path."""
        return self.with_(data=str(expanded(self.data).absolute())) if self.data else self


@dataclass(frozen=True, kw_only=True)
class CalibrateConfig(Config):
    """Temperatures of training runs, and how well their probabilities fit on test images."""

    task: ClassVar[str] = "calibrate"

    of: tuple[str, ...] = _run((), "Training runs to calibrate and compare (ids in the runs folder).")
    test_per_class: int | None = _data(None, "Test images of each class; by default all.", minimum=1)
    batch_size: int = _run(32, "Images in a batch; no result depends on it.", between=(1, 4096))


@dataclass(frozen=True, kw_only=True)
class UnknownsConfig(Config):
    """Whether training runs tell images that are of none of their classes."""

    task: ClassVar[str] = "unknowns"

    of: tuple[str, ...] = _run((), "Training runs to ask and compare (ids in the runs folder).")
    against: tuple[str, ...] = _data(
        (), "Kinds of unknown images; by default all that there are for a run.", options="kind of unknown images"
    )
    other: str | None = _data(None, "Data set whose test images are unknown.", options="data set")
    other_data: str | None = _data(None, "Folder of that data set, or a zip or tar of it.")
    head: str | None = _data(None, "Output whose logits are scored; by default the one that predicts.")
    most: int = _data(500, "Unknown images of each kind, at most.", between=(20, 100_000))
    test_per_class: int | None = _data(None, "Test images of each class; by default all.", minimum=1)
    batch_size: int = _run(32, "Images in a batch; no result depends on it.", between=(1, 4096))

    def located(self) -> Self:
        """Return the config with ``other_data`` as an absolute path."""
        return self.with_(other_data=str(expanded(self.other_data).absolute())) if self.other_data else self


@dataclass(frozen=True, kw_only=True)
class MapsConfig(Config):
    """Class activation maps of a training run on its test images: pointing, faithfulness, drift, parts, sanity."""

    task: ClassVar[str] = "maps"

    of: str = _run("", "Training run to explain (its id in the runs folder).")
    protocol: str = _maps(
        "regions",
        "What is measured: regions (pointing, faithfulness, drift), parts (what the answer loses without each part, "
        "and how well maps agree), or sanity (whether maps change as parameters are randomised).",
        options=("regions", "parts", "sanity"),
    )
    method: str = _maps("gradcam", "How maps are made.", options="CAM method")
    head: str | None = _maps(None, "Output to explain; by default the one that predicts.")
    rival: str | None = _maps(
        None,
        "Explain the true class against a rival: the likeliest other, the most similar by its weights, or the one that "
        "the network confuses it with most (of plumage: the sibling that the distinctive part tells it from).",
        options=("likeliest", "similar", "confused"),
    )
    stages: tuple[str, ...] = _maps(("S3", "S4", "S5"), "Stages, of S1 to S5.")
    tolerance: float = _maps(15.0, "Pixels by which a map's peak may miss its region.", minimum=0.0)
    beside: str | None = _run(
        None, "Another training run on the same classes, whose maps are compared with this one's."
    )
    faithfulness_per_class: int = _maps(
        2,
        "Test images of each class on which deletion, insertion, ROAD and drift are measured: 200 predictions each.",
        minimum=0,
        formerly="trials_per_class",
    )
    drift: tuple[str, ...] = _maps(
        ("color_jitter=0.5", "gaussian_noise=20"),
        "Perturbations under which maps may drift, with their severities: rotation=10,20.",
    )
    test_per_class: int | None = _data(None, "Test images of each class; by default all.", minimum=1)
    batch_size: int = _run(16, "Images in a batch; no result depends on it.", between=(1, 4096))
