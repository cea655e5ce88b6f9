"""What `import pmsi` offers beside the package's own classes and tables: train, evaluate and cam as one call each."""

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
    """Train here, in this process, until the end, and return the run.

    ``what`` is a config, for which a new run folder is made in ``runs`` (by default PMSI_RUNS or ``./runs``); ``name``
    is then part of the folder's. Or it is a run that was stopped or interrupted: it goes on from its last checkpoint.
    ``run.result()`` is what was reached, ``run.metrics()`` the way there, and the app shows both at any time.

    Ctrl-C asks for a stop: a checkpoint is written, and the run returned is in the state "stopped". Raises ConfigError,
    DataError or CheckpointError before a folder is made where training could not even start, and RunError, with the
    cause and the remedy, where the run fails later.
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
    """Return what a training run's last checkpoint answers on its ``split``, "test" or "train".

    ``Scores.accuracy`` is the share recognised, 0–1, by head; labels, predictions, confidences and losses are beside
    it. ``device`` is "auto", "cpu" or "cuda". Raises RunError or CheckpointError where the run has no model, and
    DataError where its data set is gone, has other classes by now, or test images that the run was trained on.
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
) -> Maps:
    """Return class activation maps of several stages of a network from one forward and one backward pass.

    ``model`` is any network in eval mode. For one of this package ``stages`` are among S1…S5, by default the last
    three, and ``head`` is one of its outputs, by default the primary. For any other, ``stages`` are names of modules
    whose output is a map (b, c_n, h_n, w_n), such as ``("layer3", "layer4")`` of a torchvision ResNet, and ``head``
    matters only where the network returns a dict of logits.

    ``images`` (b, 3, h, w) are normalised as the network expects (`pmsi.normalize` for those of this package), on its
    device. ``classes`` (b,) int64 are the classes to explain, by default the predicted ones; ``method`` is a row of
    CAM_METHODS.

    ``Maps.raw[stage]`` is (b, h_n, w_n), at least 0 and not normalised; ``Maps.logits`` come along. Parameters and
    their ``.grad`` stay as they are. Raises UnknownName for a stage, module, head or method that does not exist,
    ConfigError for classes out of range or a module without a map, PMSIError for a network in training mode.
    """
    if isinstance(model, Recognizer):
        chosen = None if stages is None else tuple(stages)
        return stage_cam(model, images, head=head, classes=classes, stages=chosen, method=method)
    if not stages:
        raise ConfigError(
            f"Which stages of {type(model).__name__}? Name modules that give maps, such as stages=('layer3', 'layer4')."
        )
    return module_cam(model, images, stages, head=head, classes=classes, method=method)
