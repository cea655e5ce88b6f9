"""A model that leaves answers as it did here, also where this package is not."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from pmsi.base.errors import UnknownName
from pmsi.engine.checkpoint import load_model
from pmsi.export.formats import export, portable
from pmsi.predictor import Predictor
from pmsi.runs import Run
from pmsi.runs.record import record_of

ELSEWHERE = """
import json, sys
sys.modules["pmsi"] = None  # an import of the package fails here
import numpy as np, torch
extra = {"about.json": ""}
program = torch.export.load(sys.argv[1], extra_files=extra).module()
about = json.loads(extra["about.json"])
logits = program(torch.from_numpy(np.load(sys.argv[2])))
print(json.dumps({"about": about, "answers": {head: value.argmax(1).tolist() for head, value in logits.items()}}))
"""


@pytest.fixture
def pictures(tiny_run):
    side = tiny_run.config.image_size
    return np.random.default_rng(0).integers(0, 256, (5, side, side, 3), dtype=np.uint8)


def test_a_program_answers_without_this_package(tiny_run, pictures, tmp_path):
    export(tiny_run, tmp_path / "model.pt2")
    np.save(tmp_path / "pictures.npy", pictures.transpose(0, 3, 1, 2))
    words = [sys.executable, "-c", ELSEWHERE, tmp_path / "model.pt2", tmp_path / "pictures.npy"]
    found = json.loads(subprocess.run(words, check=True, capture_output=True, cwd=tmp_path).stdout)
    predictor = Predictor.load(tiny_run)
    assert found["about"]["classes"] == list(predictor.classes)
    assert found["about"]["heads"] == list(predictor.heads)
    for i, picture in enumerate(pictures):
        here = predictor.predict(Image.fromarray(picture))
        assert {head: answers[i] for head, answers in found["answers"].items()} == {
            head: guesses[0].label for head, guesses in here.heads.items()
        }


def test_weights_are_a_smaller_checkpoint_that_loads(tiny_run, tmp_path):
    for name, half in (("full", False), ("half", True)):
        copy = tmp_path / name
        (copy / "checkpoints").mkdir(parents=True)
        (copy / "config.json").write_text((tiny_run.folder / "config.json").read_text())
        export(tiny_run, copy / "checkpoints" / "last.safetensors", half=half)
    sizes = [
        (folder / "checkpoints" / "last.safetensors").stat().st_size
        for folder in (tiny_run.folder, tmp_path / "full", tmp_path / "half")
    ]
    assert sizes[0] > 1.8 * sizes[1] > 1.8 * 1.8 * sizes[2]
    assert record_of(Run(tmp_path / "half")) == record_of(tiny_run) is not None
    cpu = torch.device("cpu")
    here, full, half = (
        load_model(Run(folder), cpu)[0].state_dict()
        for folder in (tiny_run.folder, tmp_path / "full", tmp_path / "half")
    )
    for key, value in here.items():
        assert torch.equal(full[key], value)
        assert half[key].dtype == value.dtype
        # Eleven binary digits, and a floor where numbers become subnormal.
        assert torch.allclose(half[key].double(), value.double(), rtol=2**-11, atol=2**-25)


def test_no_path_of_this_machine_leaves_with_a_model(tmp_path, tiny_config):
    config = tiny_config.with_(
        weights=str(tmp_path / "mine" / "own.pth"), dataset="folder", data=str(tmp_path / "mine" / "birds")
    )
    assert (portable(config).weights, portable(config).data) == ("own.pth", "birds")
    assert portable(tiny_config) == tiny_config


def test_an_unknown_ending_is_refused_and_nothing_is_written(tiny_run, tmp_path):
    with pytest.raises(UnknownName, match=r"\.onnx.*\.safetensors, \.pt2"):
        export(tiny_run, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
