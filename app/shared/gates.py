"""What the interaction's gates do in a run's network, on its test images: whether one stage hears of another."""

from collections.abc import Sequence

from app.shared.cached_data import data_of_run
from app.shared.cached_models import model_of, predictor_of
from app.shared.memory import once
from app.shared.work import LONG
from pmsi.data.dataset import Dataset, Sample
from pmsi.explain.stages import Gated, sampled
from pmsi.runs import Run

IMAGES, BATCH = 48, 8
"""Test images on which the gates are looked at, and how many of them at once."""


def heard(run: Run) -> str:
    """Return in words how many gates are the same on all images, and what is right without them; "" without gates."""
    dataset = data_of_run(run).dataset
    samples = sampled(dataset, IMAGES)
    parts = [_gated_once(run, dataset, samples[done : done + BATCH]) for done in range(0, len(samples), BATCH)]
    if not parts or not parts[0].g:
        return ""
    gated, known = Gated.joined(parts), list(predictor_of(run).classes)
    names = [dataset.classes[sample.label] for sample in samples]
    right = gated.right([known.index(name) if name in known else -1 for name in names])
    alike = ", ".join(f"{count} of {gated.g[name].shape[1]} in {name}" for name, count in gated.alike().items())
    counts = "; ".join(f"{head} {', '.join(str(heads[head]) for heads in right.values())}" for head in right["on"])
    return (
        f"On {len(samples)} of its test images, these gates are open on all or closed on all: {alike}. Such a "
        "gate is a fixed choice of channels; only the others can tell a stage what another has found. "
        f"Right answers as trained, with every gate at ½, and at 0, which take away the fixed choice too: {counts}."
    )


def _gated_once(run: Run, dataset: Dataset, samples: Sequence[Sample]) -> Gated:
    """Return the gates and answers on some of a run's test images, computed once for all visitors."""
    predictor = predictor_of(run)
    key = ("gated", model_of(run), dataset.name, tuple(sample.digest or sample.key for sample in samples))
    make = lambda: predictor.gated([predictor.prepare(dataset.open_image(one)) for one in samples])  # noqa: E731
    return once(key, make, line=LONG)
