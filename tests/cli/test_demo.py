"""The runs that ship: made by one command, finished, small, and found beside one's own."""

from pathlib import Path

import pytest

from pmsi import runs, tasks
from pmsi.base.errors import RunError
from pmsi.cli import demo
from pmsi.config import MapsConfig, RobustnessConfig
from pmsi.data import open_dataset
from pmsi.data.record import DataRecord
from pmsi.predictor import Predictor
from pmsi.runs import Run, State, known_runs
from pmsi.runs.mistakes import read_predictions
from pmsi.runs.record import classes_of, record_of


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny_config):
    """The folder that ships, made twice of two tiny runs, and the ids of the runs that were worked on each time."""
    root = tmp_path_factory.mktemp("demo")
    worked = []

    def work(run):
        worked[-1].append(run.id)
        return tasks.execute(run)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PMSI_CACHE", str(root / "cache"))
        tiny = {"demo-baseline": tiny_config.with_(method="baseline"), "demo-pmr": tiny_config}
        patch.setattr(demo, "TRAINED", tiny)
        looked_at = {
            "demo-robustness": RobustnessConfig(of=tuple(tiny), severities=(1.0,)),
            "demo-maps-pmr": MapsConfig(of="demo-pmr", trials_per_class=0, drift=()),
        }
        patch.setattr(demo, "MEASUREMENTS", looked_at)
        for _ in range(2):
            worked.append([])
            demo.make(root / "runs", root / "shipped", "none", work)
    return root / "shipped", worked


def test_all_of_it_has_finished_and_says_so_from_the_files_alone(made):
    folder, _ = made
    ids = {"demo-baseline", "demo-pmr", "demo-robustness", "demo-maps-pmr"}
    assert {run.id for run in runs.list_runs(folder)} == ids
    assert all(run.state is State.FINISHED and run.result() for run in runs.list_runs(folder))
    assert {path.name for path in folder.parent.iterdir()} - {"cache"} == {"runs", "shipped"}


def test_training_is_not_repeated_and_the_rest_is(made):
    _, worked = made
    looked_at = ["demo-robustness", "demo-maps-pmr"]
    assert worked == [["demo-baseline", "demo-pmr", *looked_at], looked_at]


def test_nothing_of_the_machine_ships(made):
    folder, _ = made
    for path in folder.rglob("*"):
        if path.is_file():
            assert str(folder.parent).encode() not in path.read_bytes()


def test_the_sweep_saw_the_models_as_they_ship(made):
    """Their clean accuracy is that of the model in half precision, asked again here."""
    folder, _ = made
    run = Run(folder / "demo-pmr")
    predictor, dataset = Predictor.load(run), open_dataset(run.config)
    right = [
        predictor.predict(predictor.prepare(dataset.open_image(sample))).best.label == sample.label
        for sample in dataset.test
    ]
    cells = Run(folder / "demo-robustness").result()["cells"]
    clean = next(cell for cell in cells if cell["perturbation"] is None)
    assert clean["runs"]["demo-pmr"]["heads"]["mix"]["accuracy"] == pytest.approx(sum(right) / len(right))


def test_a_run_with_other_settings_is_not_taken_for_a_demo_run(made, tmp_path, tiny_config, monkeypatch):
    Run.create(tmp_path, tiny_config.with_(seed=1)).folder.rename(tmp_path / "demo-baseline")
    with pytest.raises(RunError, match=r"demo-baseline.*other settings"):
        demo.make(tmp_path, tmp_path / "out", "none", lambda run: 0)
    assert not (tmp_path / "out").exists()


def test_shipped_runs_are_found_from_any_folder_and_come_last(made, tmp_path, tiny_config, shipped):
    folder, _ = made
    shipped(folder)
    own = Run.create(tmp_path, tiny_config)
    ids = [run.id for run in known_runs(tmp_path)]
    assert ids[0] == own.id
    assert len(ids) == 5
    found = own.sibling("demo-pmr")
    assert found.folder == folder / "demo-pmr"
    assert found.is_shipped
    assert not own.is_shipped
    mine = Run.create(tmp_path, tiny_config).folder.rename(tmp_path / "demo-pmr")
    assert Run.open(tmp_path, "demo-pmr").folder == mine  # one's own comes first


def test_what_is_in_the_assets_is_what_the_recipe_makes():
    """The shipped runs are those of the command, and together no larger than sixteen megabytes."""
    shipped = Path(runs.__file__).parents[2] / "assets" / "demo"
    for id, config in demo.TRAINED.items():
        run = Run(shipped / id)
        assert run.config.with_(weights=config.weights) == config
        assert record_of(run) == DataRecord.of(open_dataset(run.config))
        assert read_predictions(run).classes == classes_of(run)
    models = [path.stat().st_size for path in shipped.rglob("*.safetensors")]
    assert len(models) == 2
    assert sum(models) <= 16e6
    for id, config in demo.MEASUREMENTS.items():
        assert Run(shipped / id).config == config
        assert Run(shipped / id).state is State.FINISHED
