"""The tasks "calibrate" and "unknowns" on runs that were never trained."""

import json

import pytest
from untrained import untrained

from pmsi import tasks
from pmsi.calibrate import ANSWERS
from pmsi.config import CalibrateConfig, UnknownsConfig
from pmsi.data.loading import CPU
from pmsi.engine.checkpoint import load_model
from pmsi.runs import Run
from pmsi.runs.calibration import FILE, calibration_of
from pmsi.runs.record import record_of
from pmsi.uncertainty.measures import MEASURES, nll, restored
from pmsi.uncertainty.temperature import calibration_for
from pmsi.unknowns import FEATURES


@pytest.fixture
def pair(tmp_path, tiny_config, monkeypatch):
    """Two runs that do not know two of the species."""
    for room in ("measures", "separation"):
        monkeypatch.setattr(f"pmsi.uncertainty.{room}.RESAMPLES", 30)
    monkeypatch.setattr("pmsi.calibrate.FRESH", 3)
    left = tiny_config.with_(held_out=("Ochre Finchling", "Gorget Crestjay"), test_per_class=2)
    return [untrained(tmp_path, left.with_(seed=seed)) for seed in (0, 1)]


def finished(root, config):
    run = Run.create(root, config)
    assert tasks.execute(run) == "finished", run.status().error
    return run


def test_runs_are_calibrated_on_birds_that_they_never_saw_and_compared_on_their_test_images(pair, tmp_path):
    made = finished(tmp_path, CalibrateConfig(of=tuple(run.id for run in pair)))
    result = made.result()
    for run in pair:
        about, model = result["runs"][run.id], load_model(run, CPU)[0]
        assert calibration_for(run, model).temperatures == about["temperatures"]
        assert about["on"] == "fresh"
        assert set(about["heads"]["mix"]["calibrated"]) == set(MEASURES)
        own = restored(json.loads((made.folder / ANSWERS).read_text())["runs"][run.id]["raw"])["mix"]
        assert nll(own) == pytest.approx(about["heads"]["mix"]["raw"]["nll"]["value"], rel=1e-6)
        assert len(own.top) == len(record_of(run).test) == 20
    (difference,) = result["differences"]
    values = [result["runs"][run.id]["heads"]["mix"]["raw"]["nll"]["value"] for run in pair]
    assert difference["raw"]["nll"]["value"] == pytest.approx(values[1] - values[0], rel=1e-6)


def test_unknown_images_are_scored_and_their_thresholds_go_with_the_run(pair, tmp_path, shipped):
    config = UnknownsConfig(of=tuple(run.id for run in pair), most=20)
    result = finished(tmp_path, config).result()
    about = result["runs"][pair[0].id]
    assert set(about["unknown"]) == {"held_out", "noise"}
    assert about["unknown"]["held_out"]["max_logit"]["images"] == 4
    assert calibration_of(pair[0]).thresholds["max_logit"]["mix"] == about["limits"]["max_logit"]
    assert len(result["differences"]) == 2 * 3
    assert (pair[0].folder / FEATURES).is_file()
    assert finished(tmp_path, config).result()["runs"][pair[0].id]["unknown"] == about["unknown"], "kept features do"

    for file in (FILE, FEATURES):
        (pair[0].folder / file).unlink()
    shipped(tmp_path)
    finished(tmp_path / "own", UnknownsConfig(of=(pair[0].id,), most=20, against=("noise",)))
    assert not (pair[0].folder / FILE).exists(), "runs that came with the program are not written to"
