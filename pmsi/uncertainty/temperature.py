"""Temperature scaling: Guo et al., On Calibration of Modern Neural Networks, ICML 2017."""

import numpy as np
import torch
from torch import Tensor

from pmsi.runs import Run
from pmsi.runs.calibration import Calibration, calibration_of
from pmsi.uncertainty.outputs import Outputs, digest_of_model
from pmsi.uncertainty.scores import OF_LOGITS, threshold

LEAST, MOST = 0.1, 10.0
"""Bounds of a temperature: where all images are recognised, the likeliest one is 0."""


def probabilities(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Return the probabilities (…, classes) that logits stand for at a temperature."""
    return (logits.float() / temperature).softmax(dim=-1)


def log_probabilities(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Return the logarithms of `probabilities`, (n, classes) float64."""
    scaled = logits.astype(np.float64) / temperature
    scaled = scaled - scaled.max(axis=1, keepdims=True)
    return np.asarray(scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True)))


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature, between LEAST and MOST, at which logits (n, classes) make the labels (n,) likeliest."""
    from scipy.optimize import minimize_scalar  # takes a while to import

    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        return float(-log_probabilities(logits, np.exp(log_temperature))[rows, labels].mean())

    found = minimize_scalar(loss, bounds=(np.log(LEAST), np.log(MOST)), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def fit_calibration(outputs: Outputs, model: torch.nn.Module, on: str) -> Calibration:
    """Return the temperatures and the thresholds of every output of a model, fitted on some images."""
    return Calibration(
        digest_of_model(model),
        on,
        len(outputs.labels),
        {head: fit_temperature(logits, outputs.labels) for head, logits in outputs.logits.items()},
        {
            name: {head: threshold(of(logits)) for head, logits in outputs.logits.items()}
            for name, of in OF_LOGITS.items()
        },
    )


def calibration_for(run: Run, model: torch.nn.Module) -> Calibration | None:
    """Return the calibration that is stored with a run, if it was fitted to this model; else None."""
    found = calibration_of(run)
    return found if found is not None and found.model == digest_of_model(model) else None
