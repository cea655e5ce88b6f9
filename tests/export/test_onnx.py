"""An exported ONNX file against the model that it was made of."""

import json
import shutil

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from settled import settle

from pmsi.base.errors import ConfigError, ExportError
from pmsi.config import TrainConfig
from pmsi.export.formats import export
from pmsi.export.predictor import FilePredictor
from pmsi.graph import recording
from pmsi.graph.onnx_file import TOLERANCES, check, onnx_bytes
from pmsi.graph.onnx_model import ABOUT, OnnxModel
from pmsi.methods import METHODS, build
from pmsi.predictor import Predictor
from pmsi.runs import list_runs

SIDE, CLASSES = 64, 5


def built(method, backbone="tiny", **settings):
    config = TrainConfig(
        method=method, backbone=backbone, weights="none", image_size=SIDE, channels=12, hidden=10, projection=16
    )
    return settle(build(config.with_(**settings), CLASSES)).eval().requires_grad_(False)


def described(file, path, change):
    """Copy an exported file with a change of what it says of its model."""
    made = onnx.load(file)
    told = json.loads(made.metadata_props[0].value) | change
    onnx.helper.set_model_props(made, {ABOUT: json.dumps(told)})
    onnx.save(made, path)
    return path


def about(model):
    names = [f"bird {number}" for number in range(CLASSES)]
    return {"classes": names, "heads": model.heads, "primary": model.primary, "resize": 72, "image_size": SIDE}


@pytest.mark.parametrize(
    ("method", "backbone", "smooth_conv"),
    [
        ("pmr", "tiny", "separable"),
        ("p", "tiny", "paper"),
        ("m", "tiny", "paper"),
        ("hbp", "tiny", "paper"),
        ("api", "tiny", "paper"),
        ("baseline", "mobilenet_v2", "paper"),
    ],
)
def test_every_kind_of_model_passes_its_own_check(method, backbone, smooth_conv):
    """`onnx_bytes` compares all heads and maps of eight images; of a model that is changed, the check fails.

    One method for each way to build a model: PC is a baseline with another loss, B-CNN is refused below.
    """
    one_of_each = ("pmr", "p", "m", "hbp", "api", "baseline", "pc", "bcnn")
    assert {METHODS[name].build for name in one_of_each} == {row.build for row in METHODS.values()}
    model = built(method, backbone, smooth_conv=smooth_conv)
    made = onnx_bytes(model, about(model))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    with pytest.raises(ExportError):
        check(made, model, TOLERANCES)


def test_maps_do_not_depend_on_threads(generator, monkeypatch):
    """Peaks at equal places add up in one place, which ONNX Runtime's threads do without a lock in a large sum."""
    model = built("pmr", smooth_conv="paper", channels=1024, hidden=512)
    image = torch.randint(0, 256, (3, SIDE, SIDE), dtype=torch.uint8, generator=generator).numpy()
    made = onnx_bytes(model, about(model))
    alone, many = (OnnxModel(made, threads=threads) for threads in (1, 4))
    expected = alone.explain(image, "mix").maps
    for _ in range(20):
        for stage, found in many.explain(image, "mix").maps.items():
            np.testing.assert_allclose(found, expected[stage], rtol=1e-4, atol=1e-6 * expected[stage].max())


def test_a_model_whose_maps_are_lost_is_refused():
    model = built("bcnn")
    with pytest.raises(ExportError, match="maps"):
        onnx_bytes(model, about(model))


@pytest.mark.parametrize(
    ("groups", "kernel", "stride", "padding", "dilation"),
    [(1, (3, 3), (1, 1), (1, 1), 1), (2, (3, 5), (2, 1), (1, 0), 1), (4, (2, 3), (3, 2), (0, 1), 2), (4, 1, 2, 0, 1)],
)
def test_the_written_gradient_of_a_convolution_is_autograds(generator, groups, kernel, stride, padding, dilation):
    layer = torch.nn.Conv2d(4, 8, kernel, stride, padding, dilation, groups).double().requires_grad_(False)
    x = torch.randn(2, 4, 11, 12, generator=generator, dtype=torch.float64, requires_grad=True)
    y = layer(x)
    slope = torch.randn(y.shape, generator=generator, dtype=torch.float64)
    pair = {"stride": [*layer.stride], "padding": [*layer.padding], "dilation": [*layer.dilation]}
    found, *_ = recording._convolution_backward(
        slope, x, layer.weight, None, *pair.values(), False, [0, 0], groups, [True, False, False]
    )
    torch.testing.assert_close(found, torch.autograd.grad(y, x, slope)[0])


def test_the_written_gradient_of_an_average_pool_is_autograds(generator):
    x = torch.randn(2, 3, 8, 12, generator=generator, requires_grad=True)
    y = F.avg_pool2d(x, 2)
    found = recording._avg_pool_backward(torch.ones_like(y), x, [2, 2], [2, 2], [0, 0], False, True, None)
    torch.testing.assert_close(found, torch.autograd.grad(y.sum(), x)[0])


def test_a_file_stands_in_for_its_run(exported, tiny_run):
    """The same pictures, answers and maps; and of a photo of any size what the run says of the prepared picture."""
    predictor, file = Predictor.load(tiny_run), FilePredictor.load(exported)
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 150, 4), dtype=np.uint8), "RGBA")
    photo = photo.resize((600, 360), Image.Resampling.BICUBIC)
    seen = predictor.prepare(photo)
    assert file.prepare(photo) == seen
    ours, theirs = predictor.explain(seen, head="S4", label=3, top=12), file.explain(seen, head="S4", label=3, top=12)
    whole = file.file.explain_photo(np.asarray(photo), "S4", 3)
    for head, guesses in ours.prediction.heads.items():
        expected = {guess.label: guess.probability for guess in guesses}
        found = {guess.label: guess.probability for guess in theirs.prediction.heads[head]}
        assert found == pytest.approx(expected, abs=0.01)
        again = torch.from_numpy(whole.logits[head]).softmax(dim=0).numpy()
        assert again == pytest.approx([expected[label] for label in range(12)], abs=0.02)
    for stage, values in ours.maps.items():
        top = float(values.max())
        np.testing.assert_allclose(theirs.maps[stage], values, rtol=0, atol=0.05 * top)
        np.testing.assert_allclose(whole.maps[stage], values, rtol=0, atol=0.1 * top)
    with pytest.raises(ConfigError, match="layercam"):
        file.explain(seen, method="layercam")


def test_commands_take_a_file_where_they_take_a_run(exported, tiny_run, tmp_path, pmsi):
    Image.new("RGB", (80, 60), "teal").save(tmp_path / "bird.png")
    status, printed, _ = pmsi("predict", exported, tmp_path / "bird.png")
    assert status == 0
    assert json.loads(printed)[0]["best"]["name"] in Predictor.load(tiny_run).classes
    status, printed, _ = pmsi("explain", exported, tmp_path / "bird.png", "--out", tmp_path / "maps")
    assert status == 0
    assert (tmp_path / "maps" / "S3.png").exists()
    elsewhere = {"config": tiny_run.config.with_(dataset="cub", data="gone").to_dict()}
    moved = described(exported, tmp_path / "moved.onnx", elsewhere)
    status, printed, said = pmsi("evaluate", moved, "--dataset", "plumage")
    assert status == 0, said
    assert json.loads(printed)["accuracy"] == pytest.approx(tiny_run.result()["last"]["accuracy"], abs=0.1)
    assert pmsi("evaluate", tiny_run.id, "--runs", tiny_run.folder.parent, "--dataset", "plumage")[0] == 2


def test_a_sweep_takes_files_and_runs_alike(exported, copied, tmp_path, pmsi):
    """The same draws, classes and outputs; a file alone too."""
    tree = ("--runs", copied.folder.parent, "--perturbations", "rotation=10", "--test-per-class", 1)
    small = shutil.copyfile(exported, tmp_path / "small.onnx")
    status, printed, said = pmsi("robustness", copied.id, small, *tree)
    assert status == 0, said
    result = json.loads(printed)["result"]
    assert result["of"] == [copied.id, "small.onnx"]
    for cell in result["cells"]:
        ours, theirs = cell["runs"].values()
        assert theirs["mcnemar"] is not None
        for head, score in ours["heads"].items():
            assert theirs["heads"][head]["correct"] == pytest.approx(score["correct"], abs=1)
    status, printed, said = pmsi("robustness", small, *tree)
    assert status == 0, said
    alone = json.loads(printed)["result"]["cells"][1]["runs"]["small.onnx"]["heads"]
    assert alone == cell["runs"]["small.onnx"]["heads"]
    others = described(exported, tmp_path / "others.onnx", {"classes": [*"abcdefghijkl"]})
    twice = exported.parent / "small.onnx"
    runs, homeless = list_runs(copied.folder.parent), tmp_path / "homeless.onnx"
    described(exported, homeless, {"config": copied.config.with_(dataset="cub", data="gone").to_dict()})
    refused = {"small.onnx": (small, twice), "others.onnx": (copied.id, others), "data": (homeless,)}
    for name, words in refused.items():
        status, _, said = pmsi("robustness", *words, *tree)
        assert (status, name in said) == (2, True), said
    assert list_runs(copied.folder.parent) == runs, "a refused sweep leaves no run"


def test_eight_bits_are_smaller_and_say_what_they_cost(exported, tiny_run, tmp_path):
    path = tmp_path / "small.onnx"
    export(tiny_run, path, "int8")
    model = OnnxModel.load(path)
    full = model.about["int8"]["accuracy"]["float32"]
    assert full == pytest.approx(tiny_run.result()["last"]["accuracy"], abs=0.1)
    assert model.about["int8"]["images"] == tiny_run.result()["test_images"]
    assert path.stat().st_size < 0.8 * exported.stat().st_size
    side = model.image_size
    assert model.answer(np.zeros((2, 3, side, side), np.uint8)).shape == (2, len(model.heads), len(model.classes))
    with pytest.raises(ExportError, match="int8"):
        model.explain(np.zeros((3, side, side), np.uint8), model.primary)


def test_damaged_and_foreign_files_are_refused(exported, tmp_path, pmsi):
    whole = exported.read_bytes()
    foreign = onnx.helper.make_model(onnx.helper.make_graph([], "empty", [], [])).SerializeToString()
    for name, data in {"cut": whole[: len(whole) // 2], "foreign": foreign, "text": b"<html>", "empty": b""}.items():
        (path := tmp_path / f"{name}.onnx").write_bytes(data)
        status, _, said = pmsi("predict", path, path)
        assert status == 2
        assert path.name in said
    assert pmsi("predict", tmp_path / "none.onnx", tmp_path / "none.png")[0] == 2
    plain = described(exported, tmp_path / "plain.onnx", {"config": {}})
    Image.new("RGB", (9, 9)).save(tmp_path / "any.png")
    for words in (("predict", plain, tmp_path / "any.png"), ("latency", plain), ("evaluate", plain)):
        status, _, said = pmsi(*words)
        assert (status, plain.name in said) == (2, True), said
    status, _, said = pmsi("robustness", plain, "--runs", tmp_path / "runs", "--perturbations", "rotation=10")
    assert (status, plain.name in said) == (2, True), said
    spoilt = onnx.load(exported)
    weights = max(spoilt.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    weights.raw_data = bytes([weights.raw_data[0] ^ 1]) + weights.raw_data[1:]
    onnx.save(spoilt, tmp_path / "spoilt.onnx")
    status, _, said = pmsi("predict", tmp_path / "spoilt.onnx", tmp_path / "any.png")
    assert (status, "spoilt.onnx" in said) == (2, True), said
