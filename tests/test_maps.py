"""The task "maps": a trained run's report as a run of its own."""

import pytest
import torch

from pmsi import jobs
from pmsi.checkpoints import load_model
from pmsi.config import ExplainConfig
from pmsi.data import open_dataset
from pmsi.errors import ConfigError, RunError, UnknownName
from pmsi.explain.report import Examination, Question, report
from pmsi.files import read_json
from pmsi.maps import LOOKS, check
from pmsi.runs import Run, State


@pytest.fixture
def trained(tmp_path, tiny_config):
    run = Run.create(tmp_path, tiny_config)
    assert jobs.execute(run) is State.FINISHED
    return run


def test_the_task_writes_what_the_report_says(trained, tmp_path):
    config = ExplainConfig(of=trained.id, method="layercam", stages=("S4", "S5"), tolerance=4.0, batch_size=5)
    run = Run.create(tmp_path, config)
    assert jobs.execute(run) is State.FINISHED
    model, settings, _ = load_model(trained, torch.device("cpu"))
    question = Question("layercam", None, ("S4", "S5"), 4.0, config.seed)
    examination = Examination(model, open_dataset(settings), settings, question, 5)
    looks = examination.looks()
    expected = {"of": trained.id, "skipped": 0, **report(examination, looks)}
    found = run.result()
    assert found.keys() == expected.keys()
    for region, about in expected["regions"].items():
        for key, ends in about["numbers"].items():
            assert found["regions"][region]["numbers"][key] == pytest.approx(ends)
    stored = read_json(run.folder / LOOKS)
    assert [look["key"] for look in stored["looks"]] == [look.key for look in looks]


def test_what_cannot_start_is_refused(trained, tmp_path):
    with pytest.raises(UnknownName, match="layercam"):
        check(ExplainConfig(of=trained.id, method="camcam"), tmp_path)
    with pytest.raises(UnknownName, match="S1, S2, S3"):
        check(ExplainConfig(of=trained.id, stages=("S9",)), tmp_path)
    with pytest.raises(ConfigError, match="stages is empty"):
        check(ExplainConfig(of=trained.id, stages=()), tmp_path)
    with pytest.raises(RunError):
        check(ExplainConfig(of="nowhere"), tmp_path)
