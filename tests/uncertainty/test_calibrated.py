"""A calibration that is stored with a run, wherever its probabilities are shown."""

import json

import numpy as np
import pytest
from PIL import Image

from pmsi.data.loading import CPU
from pmsi.engine.checkpoint import load_model
from pmsi.export.formats import export
from pmsi.export.predictor import FilePredictor
from pmsi.predictor import Predictor
from pmsi.runs.calibration import FILE, Calibration
from pmsi.runs.mistakes import read_predictions
from pmsi.uncertainty.outputs import digest_of_model

PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8))


@pytest.fixture
def calibrated(copied):
    """A run whose outputs have temperatures and a threshold that no image reaches."""
    digest = digest_of_model(load_model(copied, CPU)[0])
    heads = read_predictions(copied).predicted
    Calibration(digest, "test", 9, dict.fromkeys(heads, 2.0), {"max_logit": dict.fromkeys(heads, 1e6)}).write(copied)
    return copied


def spread(prediction):
    """The logarithms of the ratios of neighbouring probabilities: logits' differences over the temperature."""
    return -np.diff(np.log([guess.probability for guess in prediction.heads["mix"]]))


def test_every_door_shows_calibrated_probabilities_and_says_what_is_unknown(calibrated, tmp_path, pmsi):
    predictor = Predictor.load(calibrated)
    seen = predictor.prepare(PHOTO)
    found, raw = predictor.predict(seen, 12), predictor.raw().predict(seen, 12)
    assert spread(raw) == pytest.approx(2 * spread(found), rel=1e-3)
    assert (found.calibrated, raw.calibrated) == (True, False)
    assert found.familiarity.is_unknown
    assert predictor.explain(seen, top=12).prediction.best.probability == pytest.approx(
        found.best.probability, rel=1e-4
    )

    PHOTO.save(tmp_path / "photo.png")
    export(calibrated, tmp_path / "bird.onnx")
    assert spread(FilePredictor.load(tmp_path / "bird.onnx").predict(seen, 12)) == pytest.approx(
        spread(found), rel=1e-2
    )
    for model in (calibrated.id, tmp_path / "bird.onnx"):
        said = [
            json.loads(pmsi("predict", model, tmp_path / "photo.png", "--runs", tmp_path, *raw)[1])[0]
            for raw in ((), ("--raw",))
        ]
        assert [one["calibrated"] for one in said] == [True, False]
        assert said[0]["best"]["probability"] < said[1]["best"]["probability"]
        assert said[0]["familiarity"]["not_one_of_the_classes"]


def test_a_calibration_of_another_model_or_a_damaged_one_is_not_used(calibrated):
    stored = json.loads((calibrated.folder / FILE).read_text())
    (calibrated.folder / FILE).write_text(json.dumps(stored | {"model": "another"}))
    assert not Predictor.load(calibrated).temperatures
    (calibrated.folder / FILE).write_text(json.dumps(stored | {"temperatures": {"mix": 0}}))
    assert "temperatures.mix = 0" in calibrated.damage
