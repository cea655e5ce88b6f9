"""The command line as somebody types it: what each subcommand prints and writes, and how it refuses what is wrong."""

import argparse
import contextlib
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from pmsi.augment.mosaic import Layout, apply, plan
from pmsi.base.errors import PMSIError
from pmsi.base.seeding import derive
from pmsi.base.text import short
from pmsi.choices import options_of
from pmsi.cli.console import counting, record_line
from pmsi.cli.flags import to_config
from pmsi.cli.main import COMMANDS, main, make_parser
from pmsi.config import CONFIGS, EvaluateConfig, RobustnessConfig, TrainConfig
from pmsi.config.command import command, flag
from pmsi.config.presets import PRESETS
from pmsi.data.images import open_rgb
from pmsi.data.plumage import plumage
from pmsi.engine.costs import costs_of
from pmsi.explain.metrics import widened
from pmsi.explain.regions import cropped_mask
from pmsi.methods import METHODS
from pmsi.model import SMOOTH_CONVS
from pmsi.perturbations import PERTURBATIONS, perturb
from pmsi.pictures.mosaics import square
from pmsi.predictor import Predictor
from pmsi.runs import Run, State, list_runs
from pmsi.runs.disk import in_words

ROOT = Path(__file__).parent.parent
TINY = [
    "--dataset",
    "plumage",
    "--backbone",
    "tiny",
    "--weights",
    "none",
    "--image-size",
    "64",
    "--train-per-class",
    "2",
    "--test-per-class",
    "1",
    "--batch-size",
    "6",
    "--channels",
    "16",
    "--hidden",
    "8",
]
HEADS = ["S3", "S4", "S5", "concat", "mix"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """One trained run, in a folder whose name has a space; tests read it only."""
    root = tmp_path_factory.mktemp("a place") / "my runs"
    assert main(["train", *TINY, "--epochs", "1", "--runs", str(root)]) == 0
    (run,) = list_runs(root)
    return run


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A current folder of its own, with a picture, a text that is called a picture, and a folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PMSI_CACHE", str(tmp_path / "cache"))
    pixels = np.random.default_rng(0).integers(0, 256, (90, 130, 3)).astype(np.uint8)
    Image.fromarray(pixels).save("a bird.png")
    Path("text.jpg").write_text("no picture")
    Path("folder").mkdir()
    return tmp_path


@contextlib.contextmanager
def spawned(*words, cwd):
    """Start a command line as a process of its own; it does not outlive the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pmsi", *map(str, words)],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def picture(path):
    """The pixels of a picture file, (h, w) or (h, w, 3)."""
    with Image.open(path) as image:
        return np.asarray(image)


def animation(path):
    """The frames of a GIF, each (h, w, 3)."""
    with Image.open(path) as image:
        return [np.asarray(frame.convert("RGB"), dtype=int) for frame in ImageSequence.Iterator(image)]


def parser_of(name):
    """The parser of one subcommand."""
    actions = make_parser(name)._actions
    (subcommands,) = (action for action in actions if isinstance(action, argparse._SubParsersAction))
    return subcommands.choices[name]


# Flags and their help


@pytest.mark.parametrize("task", CONFIGS)
def test_a_task_has_one_flag_for_each_field_and_its_help_names_the_default(task):
    flags = {action.dest: action for action in parser_of(task)._actions if action.option_strings}
    ahead = {"train": {"preset", "dry_run", "first_batch", "json"}, "robustness": {"dry_run", "json"}}
    own = {"help", "runs", "queue", "launcher"} | ahead.get(task, set())
    known = {about.name: about for about in fields(CONFIGS[task]) if about.name != "of"}
    assert flags.keys() - own == known.keys()
    for name, about in known.items():
        action, default = flags[name], about.default
        assert flag(name) in action.option_strings
        assert action.default is argparse.SUPPRESS  # the config's default is the only one
        assert about.metadata["help"] in action.help.replace("%%", "%")
        words = " ".join(default) if isinstance(default, tuple) else str(default)
        words = {"None": "none", "True": "yes", "False": "no"}.get(words, words)
        assert f" [{words}" in action.help or (default is None and "by default" in action.help)
        for word in options_of(about) or ():
            assert word in action.help


@pytest.mark.parametrize("task", CONFIGS)
def test_what_is_not_typed_is_the_config_s_default(task):
    of = ["RUN"] if task != "train" else []
    typed = make_parser(task).parse_args([task, *of])
    expected = CONFIGS[task]() if not of else CONFIGS[task](of=("RUN",) if task == "robustness" else "RUN")
    assert to_config(CONFIGS[task](), typed) == expected


@pytest.mark.parametrize(
    "config",
    [
        *(preset.config for preset in PRESETS.values()),
        TrainConfig(flip=False, nested=True, weights="/a b/w.pt", dataset="folder", data="/a b/c", dropout=0.25),
        EvaluateConfig(of="some-run", split="train"),
        RobustnessConfig(of=("a", "b"), perturbations=("gaussian_noise",), severities=(0.5, 3.0)),
    ],
    ids=lambda config: config.task,
)
def test_the_command_that_is_shown_makes_the_same_config(config):
    words = shlex.split(command(config))
    assert words[:3] == ["python", "-m", "pmsi"]
    typed = make_parser(config.task).parse_args(words[3:])
    assert to_config(CONFIGS[config.task](), typed) == config


@pytest.mark.parametrize("words", [[], *([name] for name in COMMANDS), ["runs", "resume"], ["data", "check"]])
def test_every_help_is_complete_and_fits(words, pmsi, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    status, out, err = pmsi(*words, "--help")
    assert (status, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 100
    parser = parser_of(words[0]) if len(words) == 1 else None
    for action in parser._actions if parser else ():
        assert action.help or isinstance(action, argparse._SubParsersAction), f"{action.dest} has no help"
    if not words:
        assert all(name in out for name in COMMANDS)
        assert "Exit status: 0 done" in out


def test_help_needs_neither_torch_nor_numpy():
    code = (
        "import sys\nfrom pmsi.cli.main import main\ntry:\n main(['--help'])\nexcept SystemExit: pass\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'PIL', 'streamlit')))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.DEVNULL).returncode == 0


# Mosaics


@pytest.mark.parametrize("r", [0, 1, 3])
def test_a_mosaic_is_exactly_g_of_the_picture_and_can_be_replayed(r, here, pmsi):
    words = ["mosaic", "a bird.png", "--r", r, "--seed", 7, "--size", 64, "--layout", "to/layout.json"]
    assert pmsi(*words, "--out", "to here/m.png") == (0, "to here/m.png\n", "")
    shown = picture("to here/m.png")
    seen = torch.from_numpy(np.array(square(open_rgb("a bird.png"), 64))).permute(2, 0, 1).unsqueeze(0)
    replayed = Layout.from_json(json.loads(Path("to/layout.json").read_text()))
    drawn = plan(1, r, generator=torch.Generator().manual_seed(derive("preview", 7)))
    for layout in (replayed, drawn):
        assert np.array_equal(shown, apply(seen, layout)[0].permute(1, 2, 0).numpy())
    pmsi(*words, "--out", "again.png")
    assert Path("again.png").read_bytes() == Path("to here/m.png").read_bytes()


def test_a_strip_shows_every_r(here, pmsi):
    assert pmsi("mosaic", "a bird.png", "--strip", "--r", 2, "--size", 64, "--out", "s.jpg")[0] == 0
    assert picture("s.jpg").shape == (64, 3 * 64 + 2 * 12, 3)


KEYS = "train/willow_leafling/0001", "train/gorget_crestjay/0002"


def test_every_augmentation_is_shown_beside_the_others(here, pmsi):
    words = ["mosaic", KEYS[0], "--dataset", "plumage", "--beside", KEYS[1], "--r", 2, "--size", 64, "--seed", 5]
    status, said, _ = pmsi(*words, "--out", "all.png")
    shown = [picture("all.png")[:, 76 * i : 76 * i + 64] for i in range(7)]
    birds = plumage()
    own, partner = (square(birds.open_image(birds.find(key)), 64) for key in KEYS)
    assert np.array_equal(shown[0], np.asarray(own))
    assert np.array_equal(shown[1], np.asarray(partner))
    pmsi("mosaic", KEYS[0], "--dataset", "plumage", "--r", 2, "--size", 64, "--seed", 5, "--out", "alone.png")
    assert np.array_equal(shown[2], picture("alone.png"))
    pasted = (shown[4] == shown[1]).all(axis=2).mean()
    blend = next(line for line in said.splitlines() if "Mixup" in line)
    share = float(re.search(r"([\d.]+) % the image's", blend)[1]) / 100
    assert np.abs(shown[5] - (share * shown[0].astype(float) + (1 - share) * shown[1])).max() < 2
    cut = next(line for line in said.splitlines() if "CutMix" in line)
    assert (status, f"{100 * pasted:.1f} % its partner's" in cut) == (0, True)
    assert [line.split(":")[0].strip() for line in said.splitlines()[1:]] == [
        *("RMG (ours)", "Jigsaw", "CutMix", "Mixup", "SnapMix")
    ]


def test_snapmix_asks_a_run_where_it_looks(trained, here, pmsi):
    words = ["mosaic", KEYS[0], "--dataset", "plumage", "--beside", KEYS[1], "--r", 1, "--size", 64, "--out", "x.png"]
    even = pmsi(*words)[1].splitlines()
    asked = pmsi(*words, "--run", trained.id, "--runs", trained.folder.parent)[1].splitlines()
    assert even[:-1] == asked[:-1]
    assert even[-1] != asked[-1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--run", "any"], "--run is for --beside"),
        (["--beside", "a bird.png", "--strip"], "leave out --beside"),
        (["--beside", "gone.png"], "gone.png"),
    ],
)
def test_a_comparison_that_means_nothing_is_refused(words, said, here, pmsi):
    status, _, err = pmsi("mosaic", "a bird.png", *words, "--out", "x.png")
    assert (status, said in err, Path("x.png").exists()) == (2, True, False)


@pytest.mark.parametrize(("mode", "name"), [("CMYK", "x.tif"), ("I;16", "x.png"), ("LA", "x.png"), ("P", "x.gif")])
def test_pictures_of_any_mode_are_taken(mode, name, here, pmsi, trained):
    Image.new(mode, (1, 3)).save(name)
    assert pmsi("mosaic", name, "--size", 64, "--out", "m.bmp")[0] == 0
    status, out, _ = pmsi("predict", trained.id, name, "--runs", trained.folder.parent)
    assert (status, len(json.loads(out))) == (0, 1)


# Runs: training, watching


def test_training_prints_json_and_tells_its_epochs(trained, here, pmsi):
    status, out, err = pmsi("train", *TINY, "--epochs", 2, "--method", "baseline", "--evaluate-every", 2)
    (run,) = list_runs(Path("runs"))
    answer = json.loads(out)
    assert (status, answer["run"], answer["state"]) == (0, run.id, "finished")
    assert answer["result"]["last"]["accuracy"].keys() == {"classifier"}
    lines = err.splitlines()
    assert lines[0] == run.id
    assert lines[1].startswith("epoch    2  classifier ")
    assert lines[2] == f"finished: {run.folder}"


def test_a_preset_is_a_start_that_flags_change(pmsi, here, monkeypatch):
    monkeypatch.setattr("pmsi.runs.jobs.submit", lambda run, launcher: None)
    status, out, err = pmsi("train", "--preset", "quick", "--epochs", 3, "--no-flip", "--queue")
    assert (status, err) == (0, "")
    assert Run.open(Path("runs"), out.strip()).config == PRESETS["quick"].config.with_(epochs=3, flip=False)


def test_paths_are_absolute_in_a_run_that_may_be_worked_on_elsewhere(pmsi, here, monkeypatch):
    monkeypatch.setattr("pmsi.runs.jobs.submit", lambda run, launcher: None)
    Path("w.pt").touch()
    _, out, _ = pmsi("train", "--dataset", "folder", "--data", "folder", "--weights", "w.pt", "--queue")
    config = Run.open(Path("runs"), out.strip()).config
    assert (config.data, config.weights) == (str(here / "folder"), str(here / "w.pt"))


def test_a_run_that_failed_says_why_and_how_to_go_on(pmsi, here):
    status, out, err = pmsi("train", "--dataset", "cub", "--data", "folder", "--weights", "none")
    assert (status, json.loads(out)["state"]) == (1, "failed")
    assert "not a complete CUB-200-2011 folder: it lacks images.txt" in err
    assert "python -m pmsi runs resume" in err
    assert "Traceback" not in err


def test_runs_are_listed_and_shown(trained, pmsi):
    where = ["--runs", trained.folder.parent]
    status, out, err = pmsi("runs", "list", *where)
    assert (status, err) == (0, "")
    assert out.startswith(f"finished     {trained.id}  S3 ")
    (listed,) = json.loads(pmsi("runs", "list", "--json", *where)[1])
    shown = json.loads(pmsi("runs", "show", "--json", trained.id[:9], *where)[1])
    assert listed == shown
    assert shown["config"] == trained.config.to_dict()
    assert shown["status"]["state"] == "finished"
    assert shown["result"] == trained.result()
    out = pmsi("runs", "show", trained.id, *where)[1]
    assert command(trained.config, trained.folder.parent) in out
    assert "  image_size = 64\n" in out


def test_runs_that_come_with_the_program_are_listed_last_and_said_to(trained, tmp_path, pmsi, monkeypatch):
    shutil.copytree(trained.folder, tmp_path / "shipped" / "20990101-000000-example")
    monkeypatch.setattr("pmsi.runs.run.SHIPPED", tmp_path / "shipped")
    where = ["--runs", trained.folder.parent]
    own, example = pmsi("runs", "list", *where)[1].splitlines()
    assert trained.id in own
    assert "comes with the program" not in own
    assert example.startswith("finished     20990101-000000-example")
    assert example.endswith("comes with the program")
    assert [run["shipped"] for run in json.loads(pmsi("runs", "list", "--json", *where)[1])] == [False, True]
    lines = pmsi("runs", "list", "--runs", tmp_path / "nowhere")[1].splitlines()
    assert [line.split()[0] for line in lines] == ["No", "finished"]
    assert pmsi("runs", "list", "--state", "failed", *where)[1].startswith("None of the 1 runs")


def test_the_size_on_disk_is_told(trained, pmsi):
    where = [trained.id, "--runs", trained.folder.parent]
    size = sum(path.stat().st_size for path in trained.folder.rglob("*") if path.is_file())
    assert json.loads(pmsi("runs", "show", "--json", *where)[1])["bytes"] == size
    assert f"  {in_words(size)}" in pmsi("runs", "show", *where)[1].splitlines()[0]


def test_an_empty_folder_says_how_to_begin(here, pmsi):
    assert pmsi("runs", "list", "--runs", "nowhere")[:2] == (
        0,
        "No runs in nowhere yet. Start one: pmsi train --runs nowhere\n",
    )
    assert pmsi("runs", "list", "--json", "--runs", "nowhere")[:2] == (0, "[]\n")
    assert not Path("nowhere").exists()


DAMAGE = {
    "config.json": ["{", "[1]", '{"task": []}', '{"task": "train", "new": 1}', "\udcff"],
    "result.json": ['{"result": [1]}'],
    "error.json": ['{"message": 5}'],
    "started": ['{"at": "x"}'],
    "progress.json": ['{"done": "x", "at": "y"}'],
}


@pytest.mark.parametrize(("file", "content"), [(file, content) for file in DAMAGE for content in DAMAGE[file]])
def test_a_damaged_run_hides_no_other(file, content, trained, tmp_path, pmsi):
    shutil.copytree(trained.folder, tmp_path / "whole")
    folder = tmp_path / "20200101-000000-damaged"
    folder.mkdir()
    for name, text in {"config.json": '{"task": "train"}', "started": '{"at": 1}', file: content}.items():
        (folder / name).write_text(text, errors="surrogateescape")
    status, out, _ = pmsi("runs", "list", "--runs", tmp_path)
    assert (status, len(out.splitlines())) == (0, 2)
    assert out.splitlines()[0].startswith("finished     whole")
    assert [run["id"] for run in json.loads(pmsi("runs", "list", "--json", "--runs", tmp_path)[1])] == [
        "whole",
        folder.name,
    ]
    status, _, err = pmsi("runs", "show", folder.name, "--runs", tmp_path)
    assert status == 0 or (status == 2 and err.startswith("pmsi: Run ") and err.count("\n") == 1)


def test_a_prefix_is_enough_while_it_fits_one_run(trained, tmp_path, pmsi):
    for name in ("day-one", "day-two"):
        shutil.copytree(trained.folder, tmp_path / name)
    assert pmsi("runs", "show", "day-o", "--runs", tmp_path)[0] == 0
    status, _, err = pmsi("runs", "show", "day", "--runs", tmp_path)
    assert (status, err) == (2, "pmsi: 2 runs start with 'day': day-two, day-one. Type more of the id.\n")


def test_only_what_ended_early_is_resumed_or_stopped(trained, pmsi):
    where = [trained.id, "--runs", trained.folder.parent]
    for words in (["resume"], ["resume", "--queue"], ["stop"]):
        status, out, err = pmsi("runs", *words, *where)
        assert (status, out) == (2, "")
        assert "is finished: only a" in err


def test_a_run_that_was_never_started_can_be_resumed(here, pmsi):
    run = Run.create(Path("runs"), EvaluateConfig(of="gone"))
    status, out, err = pmsi("runs", "resume", run.id)
    assert (status, json.loads(out)["state"]) == (1, "failed")
    assert "There is no run 'gone'" in err


def test_a_training_stops_on_request_and_on_ctrl_c_and_goes_on(here, pmsi):
    words = ["train", *TINY, "--method", "baseline", "--epochs", "100000", "--runs", "my runs"]
    with spawned(*words, cwd=here) as first:
        id = first.stderr.readline().strip()
        assert first.stderr.readline().startswith("epoch    1 ")
        status, out, _ = pmsi("runs", "stop", id[:20], "--runs", "my runs")
        assert status == 0
        assert out.startswith(f"stopped      {id}")
        assert first.wait(20) == 1
        assert json.loads(first.stdout.read())["state"] == "stopped"
        assert f"runs resume {id} --runs 'my runs'" in first.stderr.read()
    run = Run.open(Path("my runs"), id)
    done = epochs(run)
    with spawned("runs", "resume", id, "--runs", "my runs", cwd=here) as second:
        assert second.stderr.readline().strip() == id
        assert int(second.stderr.readline().split()[1]) == done[-1] + 1
        second.send_signal(signal.SIGINT)
        assert second.wait(20) == 1
        assert "Traceback" not in second.stderr.read()
    assert run.state is State.STOPPED
    assert len(epochs(run)) > len(done)
    assert epochs(run) == list(range(1, len(epochs(run)) + 1))
    assert pmsi("predict", id, "a bird.png", "--runs", "my runs")[0] == 0


def epochs(run):
    """The epochs that a run has recorded."""
    return [record["epoch"] for record in run.metrics() if record["kind"] == "epoch"]


def test_an_execution_is_what_a_launcher_calls(here, pmsi):
    run = Run.create(Path("runs"), EvaluateConfig(of="gone"))
    assert pmsi("execute", run.folder) == (1, "", "")
    assert run.state is State.FAILED
    assert pmsi("runner", "--runs", "runs") == (0, "", "")


# A trained model


def test_an_evaluation_repeats_the_training_s_last_test_and_keeps_the_whole_id(trained, tmp_path, pmsi):
    shutil.copytree(trained.folder, tmp_path / trained.id)
    status, out, _ = pmsi("evaluate", trained.id[:12], "--runs", tmp_path)
    answer = json.loads(out)
    assert status == 0
    assert answer["result"]["accuracy"] == trained.result()["last"]["accuracy"]
    assert Run.open(tmp_path, answer["run"]).config.of == trained.id


def test_a_sweep_prints_a_line_for_each_cell(trained, tmp_path, pmsi):
    shutil.copytree(trained.folder, tmp_path / "one")
    words = ["--perturbations", "gaussian_noise", "--severities", 2, 4]
    status, out, err = pmsi("robustness", "on", "one", *words, "--runs", tmp_path)
    result = json.loads(out)["result"]
    assert (status, result["of"]) == (0, ["one"])
    accuracy = f"one {100 * trained.result()['last']['accuracy']['mix']:.1f} %"
    cells = err.splitlines()[1:-1]
    assert [line.split("  ")[0].strip() for line in cells] == ["clean", "gaussian_noise 2", "gaussian_noise 4"]
    assert cells[0].endswith(accuracy)


def test_other_records_have_no_line():
    assert record_line({"kind": "loss", "losses": {}}) is None


def test_predictions_are_a_json_list(trained, here, pmsi):
    Image.new("RGB", (70, 70), "red").save("red.png")
    status, out, _ = pmsi("predict", trained.id, "a bird.png", "red.png", "--top", 2, "--runs", trained.folder.parent)
    answers = json.loads(out)
    assert (status, [answer["image"] for answer in answers]) == (0, ["a bird.png", "red.png"])
    for answer in answers:
        assert list(answer["heads"]) == HEADS
        assert all(len(guesses) == 2 for guesses in answer["heads"].values())
        assert answer["best"] == answer["heads"][answer["primary"]][0]
        assert answer["best"]["name"] == trained.result()["classes"][answer["best"]["label"]]


def test_an_explanation_is_pictures_and_numbers(trained, here, pmsi):
    name = trained.result()["classes"][4]
    words = ["--head", "S4", "--class", name, "--out", "my maps/x", "--runs", trained.folder.parent]
    status, out, _ = pmsi("explain", trained.id[:10], "a bird.png", *words)
    assert status == 0
    assert {path.name for path in Path("my maps/x").iterdir()} == {
        "image.png",
        "S3.png",
        "S4.png",
        "S5.png",
        "maps.json",
    }
    assert {picture(path).shape for path in Path("my maps/x").glob("*.png")} == {(64, 64, 3)}
    about = json.loads(Path("my maps/x/maps.json").read_text())
    assert {stage: np.shape(values) for stage, values in about["maps"].items()} == {
        "S3": (8, 8),
        "S4": (4, 4),
        "S5": (2, 2),
    }
    assert (about["run"], about["head"], about["class"]) == (trained.id, "S4", name)
    assert json.loads(out) == {key: value for key, value in about.items() if key != "maps"}


def test_images_of_a_data_set_are_recognised_and_explained_by_their_keys(trained, here, pmsi):
    where = ["--runs", trained.folder.parent]
    birds = plumage()
    birds.open_image(birds.find(KEYS[0])).save("same.png")
    by_key = pmsi("predict", trained.id, KEYS[0], "--dataset", "plumage", *where)[1]
    by_file = pmsi("predict", trained.id, "same.png", *where)[1]
    assert json.loads(by_key)[0]["heads"] == json.loads(by_file)[0]["heads"]
    assert pmsi("explain", trained.id, KEYS[0], "--dataset", "plumage", "--out", "maps", *where)[0] == 0
    assert np.array_equal(picture("maps/image.png"), np.asarray(Predictor.load(trained).prepare(open_rgb("same.png"))))


def test_a_region_is_outlined_over_every_map(trained, here, pmsi):
    words = ["explain", trained.id, KEYS[0], "--dataset", "plumage", "--runs", trained.folder.parent]
    assert pmsi(*words, "--out", "bare")[0] == 0
    assert pmsi(*words, "--out", "outlined", "--region", "bill")[0] == 0
    birds, config = plumage(), trained.config
    inside = cropped_mask(birds.open_parts(birds.find(KEYS[0]))["bill"], config.resize_to, config.image_size)
    near = widened(inside, 3.0)
    assert np.array_equal(picture("bare/image.png"), picture("outlined/image.png"))
    for stage in ("S3", "S4", "S5"):
        changed = (picture(f"bare/{stage}.png") != picture(f"outlined/{stage}.png")).any(axis=2)
        assert changed.any()
        assert not changed[~near].any()
    svgs = []
    for region in ([], ["--region", "bill"]):
        assert pmsi(*words, "--figure", "x.svg", *region)[0] == 0
        svgs.append(Path("x.svg").read_text())
    assert [text.count('stroke-linecap="square"') for text in svgs] == [0, 2 * 4]
    assert ">Willow Leafling<" in svgs[0]


def test_the_numbers_of_maps_are_told(trained, here, pmsi):
    words = ["explain", trained.id, KEYS[0], "--dataset", "plumage", "--runs", trained.folder.parent]
    status, out, _ = pmsi(*words, "--numbers", "--tolerance", 2, "--region", "wing")
    told, birds, config = json.loads(out)["numbers"], plumage(), trained.config
    assert (status, told["region"], told["tolerance"]) == (0, "wing", 2)
    assert {path.name for path in here.iterdir()} <= {"a bird.png", "text.jpg", "folder", "cache"}, "nothing is written"
    predictor, sample = Predictor.load(trained), birds.find(KEYS[0])
    mask = cropped_mask(birds.open_parts(sample)["wing"], config.resize_to, config.image_size)
    assert told["area"] == pytest.approx(mask.mean())
    maps = predictor.explain(predictor.prepare(birds.open_image(sample))).maps
    for stage, values in maps.items():
        large = torch.nn.functional.interpolate(torch.from_numpy(values)[None, None], (64, 64), mode="bilinear")
        large = large[0, 0].double().numpy()
        energy = large[mask].sum() / large.sum() if large.any() else mask.mean()
        assert told["stages"][stage]["sources"]["map"]["energy"] == pytest.approx(energy, abs=1e-5)
        assert told["stages"][stage]["peak"] == pytest.approx(values.max(), rel=1e-4)
        assert list(told["stages"][stage]["sources"]) == ["map", "random", "edges", "centre"]
    assert json.loads(pmsi(*words, "--numbers")[1])["numbers"]["region"] == "object"


def test_of_a_file_no_region_is_known(trained, here, pmsi):
    status, out, _ = pmsi("explain", trained.id, "a bird.png", "--numbers", "--runs", trained.folder.parent)
    told = json.loads(out)["numbers"]
    assert (status, list(told)) == (0, ["stages"])
    assert all("sources" not in stage for stage in told["stages"].values())


def test_removal_curves_start_at_the_prediction(trained, here, pmsi):
    words = ["explain", trained.id, "a bird.png", "--removal", "--out", "maps", "--runs", trained.folder.parent]
    status, out, _ = pmsi(*words)
    told, written = json.loads(out), json.loads(Path("maps/maps.json").read_text())
    for stage in ("S3", "S4", "S5"):
        for kind, end in (("deletion", 0), ("insertion", -1)):
            for source, curve in written["curves"][stage][kind].items():
                assert curve["probability"][end] == pytest.approx(told["predicted"]["probability"], abs=1e-4)
                area = np.trapezoid(curve["probability"], curve["shares"])
                assert told["areas"][stage][kind][source] == pytest.approx(area, abs=1e-6)
    assert (status, set(told) | {"maps", "curves"}) == (0, set(written))


def test_rising_severity_is_an_animation(trained, here, pmsi):
    words = ["explain", trained.id, KEYS[0], KEYS[1], "--dataset", "plumage", "--runs", trained.folder.parent]
    assert pmsi(*words, "--rising", "rotation", "--seed", 2, "--figure", "maps.gif") == (0, "maps.gif\n", "")
    shown = animation("maps.gif")
    birds, predictor = plumage(), Predictor.load(trained)
    side, gap, line = 256, 4, 22
    assert {frame.shape for frame in shown} == {(line + 2 * (side + gap) - gap, 4 * (side + gap) - gap, 3)}
    for frame, severity in ((shown[0], 0.0), (shown[-1], max(PERTURBATIONS["rotation"].levels))):
        for row, key in enumerate(KEYS):
            clean = predictor.prepare(birds.open_image(birds.find(key)))
            expected, _ = perturb(clean, "rotation", severity, seed=2, key=key)
            top = line + row * (side + gap)
            found = frame[top : top + side, :side].reshape(64, 4, 64, 4, 3).mean(axis=(1, 3))
            assert np.abs(found - np.asarray(expected, dtype=int)).mean() < 8, "256 colours are nearly the pixels"


def test_as_severity_rises_the_clean_images_class_is_explained(trained, here, pmsi, monkeypatch):
    explained, asked = Predictor.explain, []

    def explain(self, *words, **about):
        found = explained(self, *words, **about)
        asked.append((about["label"], about["head"], found.label))
        return found

    monkeypatch.setattr(Predictor, "explain", explain)
    words = ["a bird.png", "--head", "S4", "--rising", "c_fog", "--figure", "x.gif", "--runs", trained.folder.parent]
    assert pmsi("explain", trained.id, *words)[0] == 0
    (label, _, clean), *risen = asked
    assert label is None
    assert risen == [(clean, "S4", clean)] * 6


def test_a_network_is_shown_perturbed_images(trained, here, pmsi):
    where = ["--dataset", "plumage", "--runs", trained.folder.parent]
    steps = ["--perturb", "color_jitter=0.5", "gaussian_noise=20", "--seed", 3]
    status, out, _ = pmsi("explain", trained.id, KEYS[0], *steps, *where, "--out", "maps")
    birds, predictor = plumage(), Predictor.load(trained)
    seen = predictor.prepare(birds.open_image(birds.find(KEYS[0])))
    for name, severity in (("color_jitter", 0.5), ("gaussian_noise", 20)):
        seen, _ = perturb(seen, name, severity, seed=3, key=KEYS[0])
    assert (status, json.loads(out)["perturbed"]) == (0, ["color_jitter=0.5", "gaussian_noise=20"])
    assert np.array_equal(picture("maps/image.png"), np.asarray(seen))
    (answer,) = json.loads(pmsi("predict", trained.id, KEYS[0], *steps, *where)[1])
    assert answer["best"]["probability"] == pytest.approx(predictor.predict(seen).best.probability, abs=1e-6)


@pytest.mark.parametrize("entry", ["rotation", "rotation=1,2", "rotation=x", "rotation=999", "nothing=1"])
def test_a_perturbation_needs_one_severity_in_its_range(entry, trained, here, pmsi):
    status, _, err = pmsi("predict", trained.id, "a bird.png", "--perturb", entry, "--runs", trained.folder.parent)
    assert (status, err.count("\n")) == (2, 1)


def test_names_that_are_no_text_do_not_matter(trained, here, pmsi):
    name = os.fsdecode(b"b\xff.png")
    Path("a bird.png").rename(name)
    status, out, _ = pmsi("explain", trained.id, name, "--out", "maps", "--runs", trained.folder.parent)
    assert (status, json.loads(out)["image"]) == (0, "b\ufffd.png")


# Data sets


def test_data_sets_are_listed_checked_and_shown(here, pmsi):
    assert [line.split()[0] for line in pmsi("data", "list")[1].splitlines()] == list(
        options_of(next(about for about in fields(TrainConfig) if about.name == "dataset"))
    )
    class_folders(here / "my birds")
    words = ["--dataset", "folder", "--data", "my birds"]
    status, out, err = pmsi("data", "check", *words)
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "my birds: 2 classes, 4 training and 2 test images",
        "      2     1  jay",
        "      2     1  wren",
        "Images left out: 1:",
        "  wren/bad.png: the file is empty",
    ]
    assert json.loads(pmsi("data", "check", "--json", *words)[1])["classes"]["jay"] == {"train": 2, "test": 1}
    assert pmsi("data", "preview", *words, "--columns", 2, "--out", "sheet.png") == (0, "sheet.png\n", "")
    assert picture("sheet.png").shape[2] == 3


def test_the_images_of_a_data_set_are_named_by_their_keys(here, pmsi):
    class_folders(here / "my birds")
    words = ["data", "images", "--dataset", "folder", "--data", "my birds"]
    lines = pmsi(*words)[1].splitlines()
    assert sorted(line.split()[-1] for line in lines) == [
        f"{name}/{i}.png" for name in ("jay", "wren") for i in range(3)
    ]
    assert [line.split()[0] for line in lines] == ["train"] * 4 + ["test"] * 2
    (jays, all_of_them) = (json.loads(pmsi(*words, "--json", *more)[1]) for more in (["--class", "jay"], []))
    assert jays == [about for about in all_of_them if about["class"] == "jay"]
    assert len(jays) == 3
    status, _, err = pmsi(*words, "--class", "owl")
    assert (status, "Choose one of: jay, wren" in err) == (2, True)


def class_folders(folder):
    """Two classes of three pictures, and one bad file."""
    for name in ("jay", "wren"):
        (folder / name).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (9, 9)).save(folder / name / f"{number}.png")
    (folder / "wren" / "bad.png").touch()


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_is_shown_how_far_the_check_is(here, pmsi, monkeypatch):
    class_folders(here / "birds")
    monkeypatch.setattr(sys, "stderr", Terminal())
    pmsi("data", "check", "--dataset", "folder", "--data", "birds")
    shown = sys.stderr.getvalue()
    assert "\r\033[K7 of 7 images checked" in shown
    assert shown.endswith("\r\033[K")
    with counting(io.StringIO(), "images") as progress:
        assert progress is None


def test_a_terminal_is_shown_how_far_the_work_is(here, pmsi, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr("pmsi.cli.console.POLL_S", 0.01)
    pmsi("train", *TINY, "--epochs", 6, "--method", "baseline")
    assert "% epoch " in sys.stderr.getvalue() or "% testing" in sys.stderr.getvalue()


# Costs


def test_the_costs_of_every_method_are_listed(pmsi):
    """A method without smooth convs has one line, the others one for each kind of block."""
    status, out, _ = pmsi("info", "--backbone", "tiny", "--image-size", 64, "--batch-size", 8, "--classes", 5)
    rows = [line.split() for line in out.splitlines() if line.startswith("tiny")]
    assert status == 0
    assert {row[2] for row in rows} == METHODS.keys()
    assert [row[3] for row in rows if row[2] == "pmr"] == list(SMOOTH_CONVS)
    assert [row[3] for row in rows if row[2] == "hbp"] == ["–"]
    assert "5 classes" in out
    assert "multiply-adds" in out.lower()


def test_costs_as_json_are_those_of_the_package_for_each_combination(pmsi):
    words = ["--method", "pmr", "baseline", "--backbone", "tiny", "resnet18", "--image-size", 64, "--channels", 16]
    status, out, _ = pmsi("info", *words, "--smooth-conv", "separable", "--stage-num", 2, "--classes", 7, "--json")
    about = json.loads(out)
    assert status == 0
    assert (about["classes"], about["stage_num"], about["refused"]) == (7, 2, {})
    assert [(row["backbone"], row["method"], row["smooth_conv"]) for row in about["systems"]] == [
        ("tiny", "pmr", "separable"), ("tiny", "baseline", None),
        ("resnet18", "pmr", "separable"), ("resnet18", "baseline", None),
    ]  # fmt: skip
    config = TrainConfig(backbone="tiny", image_size=64, smooth_conv="separable", stage_num=2, channels=16)
    costs = costs_of(config, 7)
    assert about["systems"][0]["macs_train"] == costs.macs_train
    assert about["systems"][0]["weight_bytes"] == costs.weight_bytes


def test_what_stages_see_is_told_beside_the_patches_of_the_phases(pmsi):
    words = ["info", "--method", "pmr", "--backbone", "resnet18", "--image-size", 448, 896, "--channels", 16]
    lines = pmsi(*words)[1].splitlines()
    about = json.loads(pmsi(*words, "--json")[1])["receptive_fields"]
    # By hand: 7; pooled 7 + 2·2 = 11, and four 3 × 3 at stride 4: 11 + 4·8 = 43; then 43 + 8 + 3·16 = 99, and so on.
    assert about == {"resnet18": [7, 43, 99, 211, 435]}
    assert "Receptive fields of resnet18, in px: S1 7, S2 43, S3 99, S4 211, S5 435." in lines
    assert "  Smallest patches of 448 px in the phases: S3 56, S4 112, S5 224: each is smaller." in lines
    said = "S3 112, S4 224, S5 448: not smaller in S3, S4, S5; it holds up to 784 px."
    assert f"  Smallest patches of 896 px in the phases: {said}" in lines


def test_a_system_that_cannot_be_is_named_beside_those_that_can(pmsi):
    status, out, _ = pmsi("info", "--method", "pmr", "pm", "--backbone", "tiny", "--image-size", 100)
    assert status == 0
    assert "pmr on tiny, 100 px: An image of 100 × 100" in out
    assert [line.split()[2] for line in out.splitlines() if line.startswith("tiny")] == ["pm", "pm"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--method", "pmr", "--image-size", "100"], "104 × 104"),
        (["--backbone", "tini"], "tiny"),
        (["--method", "pm", "pmrr"], "pmr"),
        (["--smooth-conv", "separabel"], "separable"),
        (["--image-size", "8"], "image_size"),
        (["--stage-num", "9"], "stage_num"),
        (["--classes", "1"], "--classes"),
    ],
)
def test_costs_that_cannot_be_asked_for_are_refused_in_one_line(pmsi, words, said):
    status, out, error = pmsi("info", *words)
    assert (status, out) == (2, "")
    assert said in error
    assert error.startswith("pmsi: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 "), (999, "999 "), (999.6, "1.00 k"), (1000, "1.00 k"), (9994, "9.99 k"), (9996, "10.0 k"),
     (99_960, "100 k"), (999_400, "999 k"), (999_600, "1.00 M"), (8.92e9, "8.92 G"), (1.07e11, "107 G")],
)  # fmt: skip
def test_large_numbers_are_written_in_three_digits(number, text):
    assert short(number) == text


# Refusals


REFUSED = {
    "report nope --out x.csv": "There is no run 'nope'",
    "": "arguments are required: COMMAND",
    "trian": "choose from",
    "train --epoch 3": "unknown argument '--epoch'. Did you mean --epochs?",
    "train extra": "unknown argument 'extra'",
    "train --epochs x": "invalid int value: 'x'",
    "train --epochs 0": "epochs = 0: expected from 1 to 100000.",
    "train --lr-new nan": "expected a finite number",
    "train --method best": "Choose one of: baseline, m, p, pm, pr, bcnn, hbp, pc, api, pmg, pmr.",
    "train --dataset birds": "Choose one of: plumage, cub, cars, aircraft, folder.",
    "train --backbone big": "Choose one of: mobilenet_v2, resnet18, resnet34, tiny.",
    "train --augmentation x": "Choose one of: ",
    "train --smooth-conv x": "Choose one of: paper, separable.",
    "train --permutation x": "expected one of uniform, cycle",
    "train --device gpu": "expected one of auto, cpu, cuda",
    "train --preset fast": "Choose one of: quick, paper, released.",
    "train --preset ''": "Choose one of: quick, paper, released.",
    "train --weights nofile": "There is no weights file at",
    "train --weights ''": "expected a path, found an empty text",
    "train --dataset folder": "give it as data",
    "train --dataset folder --data nowhere": "does not exist",
    "train --dataset folder --data text.jpg": "is not a zip",
    "train --dataset cub --data text.jpg": "is not a folder",
    "train --dataset folder --data ~nobody-here/x": "there is no such home folder",
    "train --resize 100 --image-size 200": "a crop cannot be larger",
    "train --runs text.jpg": "'text.jpg' is a file, expected a folder",
    "train --runs ''": "found an empty text",
    "mosaic": "arguments are required: IMAGE, --out",
    "mosaic nofile --out x.png": "nofile: the file does not exist",
    "mosaic folder --out x.png": "folder: it is a folder",
    "mosaic text.jpg --out x.png": "text.jpg: it is not an image",
    "mosaic 'a bird.png' --out x.doc": "'.doc'. Choose one of: .png, .jpg",
    "mosaic 'a bird.png' --out folder": "Choose one of: .png, .jpg",
    "mosaic 'a bird.png' --out text.jpg/x.png": "text.jpg is no folder",
    "mosaic 'a bird.png' --out x.png --layout folder": "folder cannot be written: Is a directory",
    "mosaic 'a bird.png' --out x.png --r 9": "expected a whole number from 0 to 8",
    "mosaic 'a bird.png' --out x.png --seed -1": "expected a whole number from 0",
    "mosaic 'a bird.png' --out x.png --size 100": "nearest size that works is 104 × 104",
    "mosaic 'a bird.png' --out x.png --permutation x": "uniform",
    "mosaic 'a bird.png' --out x.webp --strip --size 4096": "Try .png.",
    "evaluate": "required: RUN",
    "evaluate nope": "There is no run 'nope'",
    "evaluate RUN --split val": "expected one of test, train",
    "evaluate RUN --batch-size 0": "expected from 1 to 4096",
    "predict RUN": "required: IMAGE",
    "predict nope 'a bird.png'": "There is no run 'nope'",
    "predict ../runs 'a bird.png'": "There is no run",
    "predict RUN text.jpg": "text.jpg: it is not an image",
    "predict RUN 'a bird.png' --top 0": "expected a whole number from 1",
    "predict RUN 'a bird.png' --device gpu": "cuda",
    "robustness RUN --perturbations fog": "Choose one of: color_jitter, gaussian_noise",
    "robustness RUN --severities -3": "expected a number from 0 to 1",
    "robustness RUN nope": "There is no run 'nope'",
    "explain RUN 'a bird.png'": "required: --out",
    "explain RUN 'a bird.png' --out x --rising rotation": "--rising needs --figure FILE.gif",
    "explain RUN 'a bird.png' --figure x.gif --rising rotation --perturb jpeg=50": "does not go with --perturb",
    "explain RUN 'a bird.png' --figure x.gif --rising fogg": "Did you mean 'c_fog'?",
    "explain RUN 'a bird.png' --figure x.png --rising rotation": "Unknown ending of an animation '.png'",
    "explain RUN 'a bird.png' --figure x.gif": "Choose one of: .png, .svg",
    "explain RUN 'a bird.png' --out x --region bill": "--region needs an image of a data set",
    "explain RUN test/ochre_finchling/0000 --dataset plumage --out x --region beak": "Choose one of: object, telling",
    "explain RUN test/ochre_finchling/0000 --dataset plumage --out x --region bill --perturb rotation=5": "may move it",
    "explain RUN 'a bird.png' 'a bird.png' --numbers": "so do --numbers and --removal",
    "explain RUN 'a bird.png' --numbers --tolerance -1": "expected a whole number from 0",
    "explain RUN 'a bird.png' --out text.jpg": "'text.jpg' is a file, expected a folder",
    "explain RUN 'a bird.png' --out x --head S9": "Choose one of: S3, S4, S5, concat, mix.",
    "explain RUN 'a bird.png' --out x --class Dodo": "Choose one of: Ochre Finchling",
    "runs": "required: ACTION",
    "runs lsit": "choose from",
    "runs show nope": "There is no run 'nope'",
    "runs list --runs text.jpg": "'text.jpg' is a file, expected a folder",
    "data check --dataset birds": "choose from",
    "data check --dataset folder": "give it as data",
    "data preview": "required: --out",
    "data preview --out x.doc": "Choose one of: .png, .jpg",
    "data preview --out x.png --columns 0": "expected a whole number from 1 to 50",
    "app --port 70000": "expected a whole number from 1 to 65535",
    "execute folder": "folder is no run folder",
    "execute nowhere": "nowhere is no run folder",
}


@pytest.mark.parametrize("line", REFUSED)
def test_what_is_wrong_is_one_line_and_status_2(line, trained, here, pmsi, monkeypatch):
    monkeypatch.setenv("PMSI_RUNS", str(trained.folder.parent))
    before = list_runs(trained.folder.parent)
    status, out, err = pmsi(*(trained.id if word == "RUN" else word for word in shlex.split(line)))
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert err.startswith("pmsi: ")
    assert REFUSED[line] in err
    assert list_runs(trained.folder.parent) == before
    assert not list(here.rglob("*.tmp"))


def test_a_run_without_a_checkpoint_has_no_model(here, pmsi):
    run = Run.create(Path("runs"), TrainConfig())
    for words in (["predict", run.id, "a bird.png"], ["evaluate", run.id], ["robustness", run.id]):
        status, out, err = pmsi(*words)
        assert (status, out) == (2, "")
        assert "has no checkpoint yet" in err


def test_errors_of_the_system_and_of_many_lines_are_one_line_too(pmsi, monkeypatch):
    def fail(error):
        def known_runs(root):
            raise error

        monkeypatch.setattr("pmsi.cli.runs.known_runs", known_runs)
        return pmsi("runs", "list")

    assert fail(PermissionError(13, "Permission denied", "x")) == (2, "", "pmsi: x: Permission denied.\n")
    assert fail(OSError(28, "No space left on device")) == (2, "", "pmsi: No space left on device.\n")
    assert fail(PMSIError("one\n  two")) == (2, "", "pmsi: one two\n")
    assert fail(KeyboardInterrupt()) == (130, "", "")


# The shell around it


@pytest.mark.parametrize("words", [["runs", "list", "--json"], ["--help"], ["data", "list"]])
def test_a_reader_that_leaves_early_is_no_error(words, trained):
    with spawned(*words, cwd=trained.folder.parent.parent) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(20) == 0


def test_a_terminal_without_our_letters_gets_question_marks(pmsi, monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    with pytest.raises(SystemExit, match="0"):
        main(["mosaic", "--help"])
    assert b"?" in sys.stdout.buffer.getvalue()


def test_the_app_s_server_replaces_the_process(pmsi, here, monkeypatch):
    started = []
    monkeypatch.setattr(os, "execve", lambda *call: started.append(call))
    pmsi("app", "--port", "8765", "--runs", "my runs")
    ((program, argv, environment),) = started
    assert program == argv[0] == sys.executable
    assert "8765" in argv
    assert environment["PMSI_RUNS"] == "my runs"


# What is written about it

PAGES = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]


def documented():
    """Every command of the docs, as words: in code blocks and in the cells and sentences of `docs/command-line.md`."""
    found = []
    for page in PAGES:
        text = page.read_text().replace("\\\n", " ")
        blocks = re.findall(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        lines = [line for block in blocks for line in block.splitlines()] + re.findall(r"`(pmsi [^`]+)`", text)
        commands = (re.sub(r"^(\w+=\S+ )*(python -m )?pmsi ", "", line.strip()) for line in lines if "pmsi " in line)
        found += [shlex.split(command, comments=True) for command in commands if re.match(r"[a-z]+ ?", command)]
    return [words for words in found if words and words[0] in COMMANDS]


def test_every_command_and_action_is_documented():
    told = {tuple(words[:2]) for words in documented()} | {(words[0],) for words in documented()}
    for name in COMMANDS:
        actions = [action for action in parser_of(name)._actions if isinstance(action, argparse._SubParsersAction)]
        assert (name,) in told
        for action in actions:
            assert {(name, choice) for choice in action.choices} <= told


@pytest.mark.parametrize("words", documented(), ids=lambda words: " ".join(words)[:60])
def test_flags_of_the_docs_exist(words):
    parser = parser_of(words[0])
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction) and len(words) > 1:
            parser = action.choices[words[1]]
    known = {flag for action in parser._actions for flag in action.option_strings}
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known
