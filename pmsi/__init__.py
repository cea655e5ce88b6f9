"""PMSI Lab: fine-grained recognition by progressive multi-stage interactive training with a recursive mosaic generator.

The public names, loaded at their first use (`import pmsi` itself loads neither torch nor numpy):

    mosaics       recursive_mosaic, RecursiveMosaic (a transform for torchvision's v2), ProgressiveMosaic (Algorithm 1)
    training      TrainConfig, PRESETS, train, Run, evaluate
    models        METHODS, BACKBONES, AUGMENTATIONS, build_model
    data          DATASETS, open_dataset, normalize
    one picture   Predictor (predictions, and class activation maps), cam (maps of any network), CAM_METHODS
    robustness    PERTURBATIONS, perturb
    errors        PMSIError, the base class of this package's errors

Names in capitals are tables: dicts from a key to a row. docs/python.md has examples; docs/architecture.md describes the
modules.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pmsi.api import build_model as build_model
    from pmsi.api import cam as cam
    from pmsi.api import evaluate as evaluate
    from pmsi.api import train as train
    from pmsi.augment import AUGMENTATIONS as AUGMENTATIONS
    from pmsi.augment.mosaic import recursive_mosaic as recursive_mosaic
    from pmsi.augment.transforms import ProgressiveMosaic as ProgressiveMosaic
    from pmsi.augment.transforms import RecursiveMosaic as RecursiveMosaic
    from pmsi.base.errors import PMSIError as PMSIError
    from pmsi.config import TrainConfig as TrainConfig
    from pmsi.config.presets import PRESETS as PRESETS
    from pmsi.data import DATASETS as DATASETS
    from pmsi.data import open_dataset as open_dataset
    from pmsi.data.preprocessing import normalize as normalize
    from pmsi.explain.methods import CAM_METHODS as CAM_METHODS
    from pmsi.methods import METHODS as METHODS
    from pmsi.model.backbones import BACKBONES as BACKBONES
    from pmsi.perturbations import PERTURBATIONS as PERTURBATIONS
    from pmsi.perturbations import perturb as perturb
    from pmsi.predictor import Predictor as Predictor
    from pmsi.runs import Run as Run

os.environ.setdefault("GOMP_SPINCOUNT", "1000")

__version__ = "0.1.0"

_HOMES = {
    "AUGMENTATIONS": "pmsi.augment",
    "BACKBONES": "pmsi.model.backbones",
    "CAM_METHODS": "pmsi.explain.methods",
    "DATASETS": "pmsi.data",
    "METHODS": "pmsi.methods",
    "PERTURBATIONS": "pmsi.perturbations",
    "PMSIError": "pmsi.base.errors",
    "PRESETS": "pmsi.config.presets",
    "Predictor": "pmsi.predictor",
    "ProgressiveMosaic": "pmsi.augment.transforms",
    "RecursiveMosaic": "pmsi.augment.transforms",
    "Run": "pmsi.runs",
    "TrainConfig": "pmsi.config",
    "build_model": "pmsi.api",
    "cam": "pmsi.api",
    "evaluate": "pmsi.api",
    "normalize": "pmsi.data.preprocessing",
    "open_dataset": "pmsi.data",
    "perturb": "pmsi.perturbations",
    "recursive_mosaic": "pmsi.augment.mosaic",
    "train": "pmsi.api",
}
"""The module of each public name; for type checkers the same imports are above."""

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    """Return a public name, imported at its first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'pmsi' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    """Return the public names and those of the loaded modules."""
    return sorted({*globals(), *__all__})
