"""The task "maps": class activation maps of a trained model on its test images, measured.

The numbers are those of `pmsi.explain.measures.report`. The numbers of each image are kept beside the result, in
``looks.json``.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from pmsi.base.errors import ConfigError, DataError, lookup
from pmsi.base.files import to_json, write_atomically
from pmsi.base.seeding import derive
from pmsi.config import MapsConfig
from pmsi.data import limit, open_dataset
from pmsi.data.dataset import Dataset, Sample
from pmsi.data.loading import EvaluationLoader
from pmsi.data.preprocessing import normalize
from pmsi.engine.checkpoint import check_together, load_model
from pmsi.engine.device import prepare_device
from pmsi.engine.folding import folded
from pmsi.evaluation import check_same_data, dataset_of
from pmsi.explain.cam import STAGE_INDEX, cam_seconds
from pmsi.explain.measures import parts, sanity
from pmsi.explain.measures.disagreement import Disagreement, farthest, map_distances
from pmsi.explain.measures.report import (
    CONFUSED,
    ImageMeasures,
    MapEvaluator,
    MeasureSettings,
    means,
    removal_seconds,
    report,
)
from pmsi.explain.methods import CAM_METHODS
from pmsi.explain.rivals import RIVALS
from pmsi.model import Recognizer
from pmsi.perturbations import severities_of
from pmsi.predictor import Predictor
from pmsi.runs import Run

LOOKS = "looks.json"
"""File in the run's folder with the measurements of each image."""

FARTHEST = 12
"""How many of the images on which two runs disagree most are named."""


def check(config: MapsConfig, root: Path) -> None:
    """Raise RunError if a run is missing or has no model, ConfigError for a method, stage or perturbation unknown, and
    for two runs that cannot be tested on the same images.
    """
    runs = [Run.open(root, id) for id in (config.of, config.beside) if id]
    words = "The maps of these runs cannot be compared."
    check_together(runs, config.test_per_class is not None, config.insist, words, live=True)
    lookup("CAM method", CAM_METHODS, config.method)
    if not config.stages:
        raise ConfigError(f"stages is empty: name at least one of {', '.join(STAGE_INDEX)}.")
    for stage in config.stages:
        lookup("stage", STAGE_INDEX, stage)
    for entry in config.drift:
        severities_of(entry)
    allowed = PROTOCOLS[config.protocol].rivals
    if config.rival not in allowed:
        others = " or ".join(name for name in allowed if name) or "no rival"
        raise ConfigError(f"rival = {config.rival!r}: protocol {config.protocol} takes {others}.")


@dataclass(frozen=True)
class Estimate:
    """How many images a report explains, on how many of them it measures faithfulness, and the seconds of both."""

    images: int
    faithfulness: int
    seconds_an_image: float
    seconds: float


def estimate(config: MapsConfig, root: Path) -> Estimate:
    """Return how long a report takes, by a trial of one image; raises a PMSIError if the run could not start."""
    model, trained, _ = load_model(Run.open(root, config.of), prepare_device(config))
    if config.test_per_class is not None:
        trained = trained.with_(test_per_class=config.test_per_class)
    dataset, model = open_dataset(trained), folded(model)
    measured = len(limit(dataset.test, config.faithfulness_per_class, (config.seed, "trials")))
    each = cam_seconds(model, trained.image_size, head=config.head, stages=config.stages, method=config.method)
    if config.protocol != "regions":
        count = PROTOCOLS[config.protocol].passes(model) * (1 if config.beside is None else 2)
        each = cam_seconds(model, trained.image_size, head=config.head, stages=config.stages) * count
        return Estimate(len(dataset.test), 0, each, len(dataset.test) * each)
    drifts = sum(len(severities_of(entry)) for entry in config.drift)
    removal = removal_seconds(model, trained.image_size, config.stages) if measured else 0.0
    explained = len(dataset.test) * (1 if config.beside is None else 3) + measured * drifts
    return Estimate(len(dataset.test), measured, each, explained * each + measured * removal)


def measure_maps(config: MapsConfig, run: Run) -> dict[str, Any]:
    """Return the measurements of a training run's maps on its test images, at its last checkpoint; the task "maps"."""
    check(config, run.folder.parent)
    model, trained, classes = load_model(run.sibling(config.of), prepare_device(config))
    if config.test_per_class is not None:
        trained = trained.with_(test_per_class=config.test_per_class)
    limited = config.test_per_class is not None
    of = run.sibling(config.of)
    dataset, differs = dataset_of(of, trained, classes, run, config.insist, limited)
    other = None if config.beside is None else Predictor.load(run.sibling(config.beside), config.device)
    if config.beside is not None and other is not None:
        differs += check_same_data(run.sibling(config.beside), dataset, other.classes, config.insist, limited)
    own = Predictor(model, trained, classes)
    about = {"of": config.of, "protocol": config.protocol, "skipped": len(dataset.problems), "data": differs}
    return about | PROTOCOLS[config.protocol].measure(_Work(config, run, dataset, own, model, other))


@dataclass(frozen=True)
class _Work:
    """What a protocol works on: the run's model, as it was trained and as a predictor, and that of a run beside it."""

    config: MapsConfig
    run: Run
    dataset: Dataset
    own: Predictor
    model: Recognizer
    other: Predictor | None

    @property
    def head(self) -> str:
        """The output explained."""
        return self.model.check_head(self.config.head or self.model.primary)

    @property
    def methods(self) -> list[str]:
        """The CAM methods of one pass, and the one that is asked for."""
        return list(dict.fromkeys([*(name for name, row in CAM_METHODS.items() if row.formula), self.config.method]))


def _regions(work: _Work) -> dict[str, Any]:
    """Measure pointing, energy, faithfulness and drift, and the distances to the maps of the run beside."""
    config, run, dataset, trained, classes = work.config, work.run, work.dataset, work.own.config, work.own.classes
    after_batch = _follow(run, "explaining the test images")
    settings = MeasureSettings(
        method=config.method,
        head=config.head,
        stages=config.stages,
        tolerance=config.tolerance,
        seed=config.seed,
        faithfulness_per_class=config.faithfulness_per_class,
        drift=config.drift,
        rival=config.rival,
    )
    evaluator = MapEvaluator(work.model, dataset, trained, settings, config.batch_size, after_batch)
    measured = evaluator.measure()
    found = report(evaluator, measured)
    if work.other is None:
        _write_looks(run, classes, measured)
        return found
    distances = _distances((work.own, work.other), dataset, config, run)
    _write_looks(run, classes, measured, distances)
    return found | {"disagreement": {"beside": config.beside, **summed_up(distances, config)}}


def _parts(work: _Work) -> dict[str, Any]:
    """Measure what the answer loses with each part, and how well maps agree; with a run beside, both, in pairs."""
    config, samples = work.config, work.dataset.test
    predictors = [work.own, *([] if work.other is None else [work.other])]
    shared, after = parts.kept_interventions(work.dataset), _follow(work.run, "changing parts of the test images")
    probes = [
        parts.probe(
            each.model,
            work.dataset,
            each.config,
            methods=work.methods,
            stages=config.stages,
            head=config.head,
            rival=config.rival,
            seed=config.seed,
            interventions=shared,
        )
        for each in predictors
    ]
    measured: list[list[parts.PartMeasures]] = [[] for _ in probes]
    for done, sample in enumerate(samples, 1):
        for each, found_of in zip(probes, measured, strict=True):
            found_of.append(each.measure(sample))
        after(done, len(samples))
    heads = [config.head or predictor.primary for predictor in predictors]
    both = None if work.other is None else parts.shared_thresholds(measured[0], measured[1], (heads[0], heads[1]))
    found = {
        "rival": config.rival,
        "methods": work.methods,
        "stages": [*config.stages],
        "head": heads[0],
        **parts.summed_up(measured[0], config.seed, both),
    }
    named = ("parts", "beside")[: len(measured)]
    kept = {name: [asdict(one) for one in each] for name, each in zip(named, measured, strict=True)}
    write_atomically(work.run.folder / LOOKS, to_json({"classes": [*work.own.classes]} | kept))
    if work.other is None:
        return found
    pairs = parts.compared(measured[0], measured[1], (heads[0], heads[1]), config.seed)
    about = {"run": config.beside, "head": heads[1], **parts.summed_up(measured[1], config.seed, both), "minus": pairs}
    return found | {"beside": about}


def _sanity(work: _Work) -> dict[str, Any]:
    """Measure how alike maps stay as the model's parameters are randomised from the top down."""
    config, device = work.config, work.own.device

    def batches() -> Iterator[tuple[Sequence[str], Tensor, Tensor]]:
        loader = EvaluationLoader(work.dataset, work.dataset.test, work.own.config, config.batch_size, device=device)
        keys = iter(work.dataset.test)
        for images, labels in loader:
            work.run.check_stop()
            yield [next(keys).key for _ in labels], normalize(images.to(device)), labels.to(device)

    after = _follow(work.run, "randomising layers")
    found = sanity.sanity(
        work.model, batches, work.methods, head=work.head, stages=config.stages, seed=config.seed, after=after
    )
    return {"methods": work.methods, "stages": [*config.stages], "head": work.head, **found}


@dataclass(frozen=True)
class Protocol:
    """A row of PROTOCOLS: what measures, the rivals that it can explain against, and about how many explanations an
    image takes.
    """

    measure: Callable[[_Work], dict[str, Any]]
    rivals: tuple[str | None, ...]
    passes: Callable[[Recognizer], int] = lambda model: 1


PROTOCOLS: dict[str, Protocol] = {
    "regions": Protocol(_regions, (None, *RIVALS, CONFUSED)),
    "parts": Protocol(_parts, (None, *RIVALS), lambda model: 20 + len(model.heads)),
    "sanity": Protocol(_sanity, (None,), lambda model: len(sanity.layers(model)) + 1),
}


def _follow(run: Run, doing: str) -> Callable[[int, int], None]:
    first = "finding the classes that the model confuses"
    return lambda done, total: run.step(done, total, doing if done else first)


def _write_looks(
    run: Run, classes: Sequence[str], measured: Sequence[ImageMeasures], distances: Sequence[Disagreement] = ()
) -> None:
    """Write what was measured on each image; ``classes`` name the labels."""
    kept = {"looks": [asdict(one) for one in measured], "disagreement": [asdict(one) for one in distances]}
    write_atomically(run.folder / LOOKS, to_json({"classes": [*classes]} | kept))


# Two runs


def sampled(a: Predictor, b: Predictor, dataset: Dataset, per_class: int) -> tuple[Sample, ...]:
    """Return ``per_class`` test images of each class; the same each time, and a smaller number is part of a larger one.

    Raises DataError if a class is unknown to one of the models.
    """
    require_classes(dataset, a, b)
    return limit(dataset.test, per_class, ("maps", "disagreement"))


def require_classes(dataset: Dataset, *predictors: Predictor) -> None:
    """Raise DataError if a class of the data set is unknown to one of the models."""
    unknown = [name for name in dataset.classes if any(name not in one.classes for one in predictors)]
    if unknown:
        raise DataError(
            f"The class {unknown[0]!r} is not among the classes of both runs. Maps are compared for one class: choose "
            "runs that were trained on the data set of this image."
        )


def disagreement(
    a: Predictor,
    b: Predictor,
    dataset: Dataset,
    sample: Sample,
    *,
    method: str = "gradcam",
    head: str | None = None,
    stages: tuple[str, ...] | None = None,
) -> Disagreement:
    """Return the distances between two models' maps of the true class of one image, each of its primary output."""
    name, image = dataset.classes[sample.label], dataset.open_image(sample)
    one, other = (
        each.explain(each.prepare(image), head=head, label=each.class_number(name), stages=stages, method=method)
        for each in (a, b)
    )
    predicted = (one.prediction.best.name, other.prediction.best.name)
    return Disagreement(sample.key, name, predicted, map_distances(one.maps, other.maps))


def _distances(pair: tuple[Predictor, Predictor], dataset: Dataset, config: MapsConfig, run: Run) -> list[Disagreement]:
    """Return the distances between two runs' maps for each test image, in order."""
    after, found = _follow(run, "comparing the two runs"), []
    for done, sample in enumerate(dataset.test, 1):
        one = disagreement(*pair, dataset, sample, method=config.method, head=config.head, stages=config.stages)
        found.append(one)
        after(done, len(dataset.test))
    return found


def summed_up(distances: Sequence[Disagreement], config: MapsConfig) -> dict[str, Any]:
    """Return the mean distances by stage with intervals, and the images with the largest distance by stage."""
    return {
        "numbers": means([one.numbers for one in distances], derive("bootstrap", config.seed, "disagreement")),
        "most": {
            stage: [one.key for one in farthest(distances, stage, FARTHEST)] for stage in dict.fromkeys(config.stages)
        },
    }
