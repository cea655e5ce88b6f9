"""What trackers are told is what the metrics say, also after a run was resumed."""

import sys
import types

import pytest

from pmsi.base.errors import ConfigError, UnknownName
from pmsi.runs import Run, State
from pmsi.tasks import execute
from pmsi.training import trackers as tracking
from pmsi.training.trackers import EVENTS, TRACKERS, check_trackers, numbers


def events(run):
    """Return {name: {step: value}} as TensorBoard itself reads a run's event files."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(run.folder / EVENTS))
    reader.Reload()
    return {name: {e.step: e.value for e in reader.Scalars(name)} for name in reader.Tags()["scalars"]}


def expected(run):
    found = {}
    for record in run.metrics():
        for name, value in numbers(record):
            found.setdefault(name, {})[record["step"]] = value
    return found


def assert_same(ours, truth):
    assert ours.keys() == truth.keys()
    for name, values in truth.items():
        assert ours[name] == pytest.approx(values, rel=1e-6)


def test_tensorboard_reads_what_the_metrics_say_and_a_resumed_run_replaces_what_it_repeats(
    tmp_path, tiny_config, monkeypatch
):
    run = Run.create(tmp_path, tiny_config.with_(trackers=("tensorboard",)))
    logged = Run.log

    def die_in_the_second_epoch(self, record):
        logged(self, record)
        if record["kind"] == "loss" and record["epoch"] > 1:
            raise MemoryError("died between two checkpoints")

    with monkeypatch.context() as patch:
        patch.setattr(Run, "log", die_in_the_second_epoch)
        assert execute(run) is State.FAILED
    assert execute(run) is State.FINISHED
    truth = expected(run)
    assert {"train/losses/S3", "train/lr_new", "test/accuracy/mix", "test/loss/concat"} <= truth.keys()
    assert_same(events(run), truth)


def test_a_tracker_that_was_asked_for_and_is_not_there_is_an_error(monkeypatch):
    monkeypatch.setattr(tracking.importlib.util, "find_spec", lambda name: None)
    check_trackers(("tensorboard",))
    with pytest.raises(ConfigError, match="mlflow"):
        check_trackers(("mlflow",))
    with pytest.raises(UnknownName, match="tensorboard"):
        check_trackers(("tensorbord",))


@pytest.fixture
def server(monkeypatch):
    """What MLflow's client calls, kept in memory: its package is an extra that the tests do without."""
    runs = []

    def start_run(run_id=None, run_name=None, tags=None):
        known = [run for run in runs if run.info.run_id == run_id]
        if known:
            return known[0]
        info = types.SimpleNamespace(run_id=str(len(runs)), run_name=run_name)
        runs.append(types.SimpleNamespace(info=info, tags=tags, params={}, metrics={}))
        return runs[-1]

    module = types.ModuleType("mlflow")
    module.start_run = start_run
    module.end_run = lambda: None
    module.search_runs = lambda search_all_experiments, filter_string, output_format: [
        run for run in runs if filter_string == f"tags.pmsi_run = '{run.tags['pmsi_run']}'"
    ]
    module.log_params = lambda params: runs[-1].params.update(params)
    module.log_metrics = lambda values, step: [
        runs[-1].metrics.setdefault(name, {}).__setitem__(step, value) for name, value in values.items()
    ]
    module.__spec__ = types.SimpleNamespace()
    monkeypatch.setitem(sys.modules, "mlflow", module)
    return runs


def test_mlflow_gets_the_same_numbers_once_however_often_a_run_is_begun(tmp_path, tiny_config, server):
    run = Run.create(tmp_path, tiny_config.with_(epochs=1, trackers=("mlflow",)))
    assert execute(run) is State.FINISHED
    TRACKERS["mlflow"].open(run.folder, run.config, 5).close()
    assert len(server) == 1
    assert server[0].info.run_name == run.id
    assert server[0].params["method"] == "pmr"
    assert_same(server[0].metrics, expected(run))
