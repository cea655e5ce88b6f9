"""A model that leaves answers as it did here, also where this package is not."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from pmsi.base.errors import UnknownName
from pmsi.engine.checkpoint import load_model
from pmsi.export.formats import export, onnx, portable, program
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
print(json.dumps({"about": about, "answers": {head: value.softmax(1).tolist() for head, value in logits.items()}}))
"""


def test_a_program_answers_without_this_package(tiny_run, tmp_path):
    side = tiny_run.config.image_size
    pictures = np.random.default_rng(0).integers(0, 256, (5, side, side, 3), dtype=np.uint8)
    export(tiny_run, tmp_path / "model.pt2")
    np.save(tmp_path / "pictures.npy", pictures.transpose(0, 3, 1, 2))
    words = [sys.executable, "-c", ELSEWHERE, tmp_path / "model.pt2", tmp_path / "pictures.npy"]
    found = json.loads(subprocess.run(words, check=True, capture_output=True, cwd=tmp_path).stdout)
    predictor = Predictor.load(tiny_run)
    assert found["about"]["classes"] == list(predictor.classes)
    assert found["about"]["heads"] == list(predictor.heads) == list(found["answers"])
    for i, picture in enumerate(pictures):
        for head, guesses in predictor.predict(Image.fromarray(picture), top=12).heads.items():
            expected = [guess.probability for guess in sorted(guesses, key=lambda guess: guess.label)]
            assert found["answers"][head][i] == pytest.approx(expected, abs=1e-3)


def test_a_program_has_plain_operators_and_contiguous_weights(tiny_run, tmp_path):
    """What other runtimes expect of a program that they lower."""
    export(tiny_run, tmp_path / "model.pt2")
    program = torch.export.load(tmp_path / "model.pt2")
    assert program.state_dict
    assert all(value.is_contiguous() for value in program.state_dict.values())
    called = [node.target for node in program.graph.nodes if node.op == "call_function"]
    assert {operator.namespace for operator in called if hasattr(operator, "namespace")} == {"aten"}


@pytest.mark.filterwarnings("ignore")  # ExecuTorch warns that it may change
def test_a_program_is_lowered_to_executorch_and_answers_alike(tiny_run, tmp_path):
    """As its documents do it, by a program that is made of the exported one."""
    exir = pytest.importorskip("executorch.exir")
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.runtime import Runtime

    side, export_to = tiny_run.config.image_size, tmp_path / "model.pt2"
    export(tiny_run, export_to)
    module = torch.export.load(export_to).module()
    images = torch.randint(0, 256, (8, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    program = torch.export.export(module, (images[:1],))
    lowered = exir.to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch()
    method = Runtime.get().load_program(lowered.buffer).load_method("forward")
    for image, *expected in zip(images, *module(images).values(), strict=True):
        for ours, theirs in zip(method.execute([image[None]]), expected, strict=True):
            torch.testing.assert_close(ours[0], theirs, rtol=1e-3, atol=1e-3)


def test_weights_are_a_smaller_checkpoint_that_loads(tiny_run, tmp_path):
    for name, precision in (("full", "float32"), ("half", "float16")):
        copy = tmp_path / name
        (copy / "checkpoints").mkdir(parents=True)
        (copy / "config.json").write_text((tiny_run.folder / "config.json").read_text())
        export(tiny_run, copy / "checkpoints" / "last.safetensors", precision)
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


def test_an_unknown_ending_is_refused_and_no_path_of_this_machine_leaves_with_a_model(tiny_run, tmp_path):
    with pytest.raises(UnknownName, match=r"\.xyz.*\.safetensors, \.pt2"):
        export(tiny_run, tmp_path / "model.xyz")
    assert not list(tmp_path.iterdir())
    mine = {name: str(tmp_path / "mine" / place) for name, place in (("weights", "own.pth"), ("data", "birds"))}
    moved = portable(tiny_run.config.with_(dataset="folder", **mine))
    assert (moved.weights, moved.data) == ("own.pth", "birds")
    assert portable(tiny_run.config) == tiny_run.config


def test_two_exports_at_once_take_turns(tiny_run, monkeypatch, cache_folder):
    """torch.export holds state of the whole process, and fails in two threads at once."""
    inside, most = [], []

    def record(*arguments, **options):
        inside.append(1)
        most.append(len(inside))
        torch.cat([torch.zeros(10**6)] * 20).sort()  # long enough for the others to come, if they may
        inside.pop()
        raise RuntimeError("recorded")

    monkeypatch.setattr(torch.export, "export", record)
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(make, tiny_run) for make in (program, onnx, program, onnx)]
    assert all("recorded" in str(one.exception()) for one in asked)
    assert len(most) >= 3, "a conversion that has failed need not be tried again"
    assert {*most} == {1}
