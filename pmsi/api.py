"""The functions of the public API: train, evaluate and cam."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from pmsi.base.errors import ConfigError, RunError
from pmsi.config import TrainConfig
from pmsi.data.loading import EvaluationLoader
from pmsi.engine.checkpoint import load_model
from pmsi.engine.device import find_device
from pmsi.evaluation import Scores, dataset_of, score
from pmsi.explain.cam import Maps, module_cam
from pmsi.explain.cam import cam as stage_cam
from pmsi.methods import build as build_model
from pmsi.model.recognizer import Recognizer
from pmsi.runs import Run, State, default_root
from pmsi.tasks import check, execute

__all__ = ["build_model", "cam", "evaluate", "train"]


def train(what: TrainConfig | Run, runs: str | Path | None = None, *, name: str | None = None) -> Run:
    """Train in this process until the end, and return the run.

    ``what`` is a config, or a run that was stopped or interrupted. For a config, a new run folder is made in ``runs``
    (default: $PMSI_RUNS or ``./runs``), with ``name`` in its name. A run continues from its last checkpoint.
    ``run.result()`` has the final accuracies, ``run.metrics()`` the losses and accuracies by epoch; the app shows both.

    Ctrl-C stops training: a checkpoint is written, and the returned run has the state "stopped". Raises ConfigError,
    DataError or CheckpointError, before a folder is made, if training cannot start, and RunError, with cause and
    remedy, if the run fails later.
    """
    if isinstance(what, Run):
        run = what
    else:
        root, config = Path(runs) if runs is not None else default_root(), what.located()
        check(config, root)
        run = Run.create(root, config, name=name)
    if execute(run) is State.FAILED:
        error = run.status().error
        reason = f"{error.message} {error.remedy}" if error else f"See {run.log_path}."
        raise RunError(f"Run {run.id} failed. {reason}")
    return run


def evaluate(run: Run, *, split: str = "test", batch_size: int = 64, device: str = "auto") -> Scores:
    """Return the scores of a training run's last checkpoint on a ``split``: "test", "train" or "validation".

    ``Scores.accuracy`` is the accuracy by head, 0–1; labels, predictions, confidences and losses are beside it.
    ``device`` is "auto", "cpu" or "cuda". Raises RunError or CheckpointError if the run has no model, and DataError if
    its data set is missing, has other classes now, or has test images that the run was trained on.
    """
    place = find_device(device)
    model, config, classes = load_model(run, place)
    dataset, _ = dataset_of(run, config, classes)
    return score(model, EvaluationLoader(dataset, dataset.split(split), config, batch_size, device=place), place)


def cam(
    model: nn.Module,
    images: Tensor,
    *,
    stages: Sequence[str] | None = None,
    head: str | None = None,
    classes: Tensor | None = None,
    method: str = "gradcam",
    rival: str | Tensor | None = None,
) -> Maps:
    """Return class activation maps of several stages of a network, from one forward and one backward pass.

    ``model`` is any network in eval mode. For one of this package, ``stages`` are among S1…S5 (default: the last
    three), and ``head`` is one of its outputs (default: the primary one). For any other, ``stages`` are names of
    modules whose output is a map (b, c_n, h_n, w_n), such as ``("layer3", "layer4")`` of a torchvision ResNet, and
    ``head`` is a key of its output, if that is a dict of logits.

    ``images`` (b, 3, h, w) are normalised as the network expects (`pmsi.normalize` for those of this package), on its
    device. ``classes`` (b,) int64 are the classes to explain (default: the predicted ones), ``method`` is a key of
    CAM_METHODS. ``rival`` (b,) int64, "likeliest" or, for a network of this package, "similar" gives maps of the
    difference to another class: why this, not that.

    ``Maps.raw[stage]`` is (b, h_n, w_n), at least 0 and not normalised; ``Maps.logits`` has the outputs. Parameters and
    their ``.grad`` do not change. Raises UnknownName for an unknown stage, module, head or method, ConfigError for
    classes out of range or a module without a map, and PMSIError for a network in training mode.
    """
    if isinstance(model, Recognizer):
        chosen = None if stages is None else tuple(stages)
        return stage_cam(model, images, head=head, classes=classes, stages=chosen, method=method, rival=rival)
    if not stages:
        raise ConfigError(
            f"Which stages of {type(model).__name__}? Name modules that give maps, such as stages=('layer3', 'layer4')."
        )
    return module_cam(model, images, stages, head=head, classes=classes, method=method, rival=rival)
