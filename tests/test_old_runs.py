"""Run folders of version 0.1: today's code lists, shows, asks, resumes and reports on them.

They were made with the code of commit c59c41b: a trained run, its evaluation, sweep and maps, one that failed and one
that was stopped in its first epoch. ``expected.json`` is what that code said of ``bird.png``, and what it logged when
it went on with the stopped run. The network is a narrow one, so that the files are small.

Since then mix is the mean of its four outputs' logits, no longer their sum. Its winner is the same, its probabilities
then are those of now to the power of 4, and its maps are the same but for a factor.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import nn

from pmsi.config import from_json
from pmsi.model import BACKBONES
from pmsi.model.backbone import Backbone, BackboneRow
from pmsi.predictor import Predictor
from pmsi.runs import Run

KEPT = Path(__file__).parent / "data" / "runs-of-0.1"
EXPECTED = json.loads((KEPT / "expected.json").read_text())
IDS = {
    "trained": "20261201-040016-train-pmr-plumage-ebdf",
    "evaluated": "20261201-040104-evaluate-test-7214",
    "swept": "20261201-040110-robustness-gaussian-noise-0e7c",
    "mapped": "20261201-040117-maps-gradcam-d79a",
    "failed": "20261201-040120-evaluate-test-98c1",
    "stopped": "20261201-040131-train-pm-plumage-d119",
}
WIDTHS = (4, 4, 4, 6, 8)


def narrow(state=None, stem_stride=2):
    """The network of these runs: five stages of two 3×3 convolutions."""

    def layer(c_in, c_out, stride):
        conv = nn.Conv2d(c_in, c_out, 3, stride, padding=1, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(c_out), nn.ReLU(inplace=True))

    strides = (stem_stride, 2, 2, 2, 2)
    widths = zip((3, *WIDTHS), WIDTHS, strides, strict=False)
    stages = [nn.Sequential(layer(c_in, c_out, stride), layer(c_out, c_out, 1)) for c_in, c_out, stride in widths]
    return Backbone(stages, WIDTHS)


@pytest.fixture(autouse=True)
def _narrow(monkeypatch):
    monkeypatch.setitem(BACKBONES, "speck", BackboneRow("Narrow", narrow, None, from_file=False))


@pytest.fixture
def ask(tmp_path, pmsi):
    """Return what types a command on a copy of these runs, which must succeed, and returns what it prints."""
    root = tmp_path / "runs"
    shutil.copytree(KEPT, root)

    def asked(*words):
        status, out, err = pmsi(*(IDS.get(word, word) for word in words), "--runs", root)
        assert status == 0, err
        return out

    asked.run = lambda name: Run(root / IDS[name])
    return asked


def test_they_are_listed_and_shown(ask):
    listed = {about["id"]: about for about in json.loads(ask("runs", "list", "--json"))}
    states = {name: listed[id]["status"]["state"] for name, id in IDS.items()}
    assert states == dict.fromkeys(IDS, "finished") | {"failed": "failed", "stopped": "stopped"}
    assert listed[IDS["trained"]]["labels"]["name"] == "The first"
    for name in IDS:
        about = json.loads(ask("runs", "show", name, "--json"))
        assert about["config"] == from_json((KEPT / IDS[name] / "config.json").read_text()).to_dict()
        assert ask("runs", "show", name)
    assert "gone" in json.loads(ask("runs", "show", "failed", "--json"))["status"]["error"]["message"]
    assert IDS["stopped"] in ask("runs", "compare", "trained", "stopped")


def test_they_predict_what_they_predicted(ask):
    (answer,) = json.loads(ask("predict", "trained", KEPT / "bird.png", "--top", 12))
    assert answer["primary"] == EXPECTED["primary"]
    assert answer["heads"].keys() == EXPECTED["predictor"].keys()
    for head, guesses in answer["heads"].items():
        power = 4 if head == "mix" else 1
        found = {guess["name"]: guess["probability"] ** power for guess in guesses}
        total = sum(found.values())
        assert {name: p / total for name, p in found.items()} == pytest.approx(EXPECTED["predictor"][head], abs=1e-5)


def test_they_look_where_they_looked(ask, tmp_path):
    predictor = Predictor.load(ask.run("trained"))
    with Image.open(KEPT / "bird.png") as image:
        found = predictor.explain(predictor.prepare(image.convert("RGB")))
    for stage, values in EXPECTED["maps"].items():
        now, then = found.maps[stage] / found.maps[stage].max(), np.array(values) / np.max(values)
        np.testing.assert_allclose(now, then, atol=1e-3)
    ask("explain", "trained", KEPT / "bird.png", "--out", tmp_path / "maps")
    assert (tmp_path / "maps" / "S5.png").exists()


def test_an_evaluation_says_the_same_again(ask):
    again = json.loads(ask("evaluate", "trained"))["result"]
    assert again["accuracy"] == ask.run("evaluated").result()["accuracy"]
    assert ask("data", "mistakes", "trained")


def test_a_stopped_run_goes_on_as_it_would_have(ask):
    assert json.loads(ask("runs", "resume", "stopped"))["state"] == "finished"
    for found, expected in zip(ask.run("stopped").metrics(), EXPECTED["resumed"], strict=True):
        for record in (found, expected):
            record.get("loss", {}).pop("mix", None)
        for name, value in expected.items():
            assert found[name] == (pytest.approx(value, rel=1e-4) if isinstance(value, dict | float) else value)


@pytest.mark.parametrize("ending", ["csv", "html"])
def test_a_sweep_is_reported_on(ask, tmp_path, ending):
    ask("report", "swept", "--out", tmp_path / f"report.{ending}")
    assert "gaussian_noise" in (tmp_path / f"report.{ending}").read_text()
