"""Weights in the forms in which people have them, made at random, against torch.load and the network they are of."""

import argparse
import io
import pathlib
import random
import struct
import tarfile
import warnings
import zipfile

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from pmsi.base.errors import CheckpointError
from pmsi.base.vision import models
from pmsi.model.backbones import BACKBONES, check_weights
from pmsi.model.weights.fitting import Network, take
from pmsi.model.weights.known import known, signature_of
from pmsi.model.weights.reading import read_contents


class Small(nn.Module):
    """A network whose names have what real ones have: numbers, names that return deeper, a classifier."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        block = nn.ModuleDict({"conv1": nn.Conv2d(4, 4, 3, bias=False), "bn1": nn.BatchNorm2d(4)})
        self.layer1 = nn.Sequential(block, nn.Conv2d(4, 6, 1))
        self.fc = nn.Linear(6, 5)


SMALL = Network.of("small", Small(), "fc.")


def taken(path, part=None):
    return take(SMALL, read_contents(path), part)


class Evil:
    """A pickle that would make a file when opened."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


class Settings(dict):
    """What trainers store beside weights: a class of their own."""


def wrapped(state, draw, owned):
    """Return a state dict in a wrapping drawn at random, with the dtype in which it is."""
    dtype = draw.choice([torch.float32, torch.float16, torch.bfloat16, torch.float64])
    prefix = "".join(draw.sample(["module.", "_orig_mod.", "net.0.", "encoder_q.", "x.backbone."], draw.randrange(3)))
    within = draw.choice(["", "", "._orig_mod", ".module"])
    classes = draw.choice([None, 3, 5])
    state = {k.replace("layer1", f"layer1{within}", 1): v for k, v in state.items() if not k.startswith("fc.")}
    state |= {} if classes is None else {"fc.weight": torch.zeros(classes, 6), "fc.bias": torch.zeros(classes)}
    state = {prefix + k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}
    for key in draw.sample(["state_dict", "model", "ema", "teacher", "any thing"], draw.randrange(4)):
        more = {"epoch": 3, "args": argparse.Namespace(lr=1, at=pathlib.PurePosixPath("/x")), "best": np.float64(0.5)}
        more |= {
            "settings": Settings(a=[1, Settings()]),
            "hook": Evil(owned),
            "optimizer": {"state": {0: torch.ones(4)}},
        }
        state = draw.choice([{}, more]) | {key: draw.choice([state, [1, state]])}
    return state, dtype


@pytest.mark.parametrize("seed", range(24))
def test_a_network_s_names_are_found_in_any_wrapping_and_nothing_else_is_run(seed, tmp_path):
    draw, net, path = random.Random(seed), Small(), tmp_path / "weights"
    content, dtype = wrapped(net.state_dict(), draw, tmp_path / "owned")
    if all(isinstance(value, torch.Tensor) for value in content.values()) and draw.random() < 0.5:
        safetensors.torch.save_file(content, path)
    else:
        how = draw.choice([{}, {"_use_new_zipfile_serialization": False}, {"pickle_protocol": 4}])
        torch.save(content, path, **how)
    found = taken(path)
    assert found.state.keys() == SMALL.expected.keys()
    for name, value in found.state.items():
        expected = net.state_dict()[name]
        expected = expected.to(dtype).float() if expected.is_floating_point() else expected
        torch.testing.assert_close(value, expected, rtol=0, atol=0)
    assert ("read as float32" in found.words) == (dtype is not torch.float32)
    assert not (tmp_path / "owned").exists()


def test_tensors_are_read_as_torch_reads_them(tmp_path):
    base = torch.arange(48, dtype=torch.float32).reshape(2, 3, 2, 4)
    state = {
        "part": base[1, :, ::2],
        "turned": base.permute(3, 0, 2, 1),
        "last": base.contiguous(memory_format=torch.channels_last),
        "wide": torch.ones(1).expand(7, 3),
        "none": torch.empty(0, 3),
        "number": torch.tensor(3),
        "parameter": nn.Parameter(base),
        "truth": torch.tensor([True, False]),
        "small": torch.arange(-3, 3, dtype=torch.int8),
        "long": torch.tensor([2**40]),
    }
    for legacy in (False, True):
        torch.save(state, tmp_path / "w.pt", _use_new_zipfile_serialization=not legacy)
        found = read_contents(tmp_path / "w.pt").tensors
        expected = torch.load(tmp_path / "w.pt", weights_only=True)
        assert list(found) == list(expected)
        for name, stored in found.items():
            assert torch.equal(stored.read(), expected[name]), name


def test_several_places_that_differ_are_asked_for_and_equal_ones_are_not(tmp_path):
    one, other, path = Small(1).state_dict(), Small(2).state_dict(), tmp_path / "w.pth"
    two = {f"module.encoder_{k}.{n}": v for k, state in (("q", one), ("k", other)) for n, v in state.items()}
    torch.save({"state_dict": two | {"module.queue": torch.zeros(3)}}, path)
    with pytest.raises(CheckpointError, match=r"encoder_q.*encoder_k") as asked:
        taken(path)
    places = [fix.changes["weights_part"] for fix in asked.value.fixes]
    assert places == ["state_dict.module.encoder_q", "state_dict.module.encoder_k"]
    for part in (places[1], "encoder_k", "module.encoder_k"):
        assert torch.equal(taken(path, part).state["conv1.weight"], other["conv1.weight"])
    for part in ("encoder", "module", "nowhere", ""):
        with pytest.raises(CheckpointError, match="encoder_q"):
            taken(path, part)
    torch.save({"model": one, "ema": {name: value.clone() for name, value in one.items()}}, path)
    assert "ema" in taken(path).words


def test_faults_are_refused_by_name(tmp_path):
    state, path, name = Small().state_dict(), tmp_path / "w.pt", "layer1.0.bn1.running_var"
    variance = state[name]
    for fault, wrong in {
        "not finite": variance.index_fill(0, torch.tensor([0]), torch.nan),
        "int32": variance.int(),
        "complex64": variance.to(torch.complex64),
        "below 0": variance - 2,
    }.items():
        torch.save({"model": state | {name: wrong}}, path)
        with pytest.raises(CheckpointError, match=rf"model\.{name} .*{fault}"):
            taken(path)
    for twin in ("module.conv1.weight", "layer1._orig_mod.0.conv1.weight"):
        once = twin.replace("module.", "").replace("_orig_mod.", "")
        torch.save(state | {twin: state[once]}, path)
        with pytest.raises(CheckpointError, match=f"{twin} stands beside {once}"):
            taken(path)


def test_an_unused_tensor_costs_nothing(tmp_path):
    torch.save(Small().state_dict() | {"fc.weight": torch.zeros(1).expand(10**6, 10**6)}, tmp_path / "w.pt")
    assert "fc.weight" in taken(tmp_path / "w.pt").words


def archive_of(**files):
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), content)
    return held.getvalue()


def saved(content, **how):
    held = io.BytesIO()
    torch.save(content, held, **how)
    return held.getvalue()


def tar():
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("storages"))
    return held.getvalue()


def scripted():
    held = io.BytesIO()
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        torch.jit.save(torch.jit.script(nn.Linear(2, 2)), held)
    return held.getvalue()


def exported():
    held = io.BytesIO()
    torch.export.save(torch.export.export(nn.Linear(2, 2), (torch.zeros(1, 2),)), held)
    return held.getvalue()


PLAIN = saved({"x": torch.arange(1000.0)})
SAFE = safetensors.torch.save({"x": torch.arange(1000.0)})
OTHERS = {
    "git lfs pull": b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n",
    "git annex get": b"/annex/objects/SHA256E-s9--ab.pth\n",
    "web page": b"\n <!-- x -->\n<HTML><body>Sign in</body></HTML>",
    "empty": b"",
    "zeros": bytes(9999),
    "cut short": PLAIN[: len(PLAIN) // 2],
    "cut short: it has 3.0 kB of": SAFE[:3000],
    "the end of its numbers": saved({"x": torch.arange(99.0)}, _use_new_zipfile_serialization=False)[:-9],
    "damaged safetensors": struct.pack("<Q", 40) + b"{" + b"x" * 50,
    "TorchScript": scripted,
    "torch.export": exported,
    "pickled model": saved(nn.Linear(2, 2)),
    "pickled model (torch.nn.modules.linear.Linear)": saved({"model": nn.Linear(2, 2)}),
    "pickled model (torch": saved(nn.Linear(2, 2), _use_new_zipfile_serialization=False),
    "script": b'#!/usr/bin/env python\nimport os\nos.mkdir("owned")\n',
    "is a script": b'"""My network."""\nfrom torch import nn\n',
    "text": "Not Found: é".encode(),
    "JSON": b'{"weight_map": {"a": "b"}}',
    "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(99),
    "ONNX": b"\x08\x08\x12\x07pytorch\x1a\x052.0.1",
    "TensorFlow Lite": b"\x1c\0\0\0TFL3" + bytes(99),
    ".npz": archive_of(a_dot_npy=b"x"),
    ".keras": archive_of(**{"model.weights.h5": b"x"}),
    "archive with w.pth": archive_of(w_dot_pth=b"x"),
    "tar": tar,
    "compressed": b"\x1f\x8b\x08" + bytes(range(99)),
    "that torch.save did not write": b"\x80\x04\x95" + bytes(range(99)),
    "picture": b"\x89PNG\r\n\x1a\n" + bytes(range(99)),
    "no kind known here": bytes(range(255, 0, -1)),
    "no tensor": saved({"epoch": 3}),
    "no tensor in it": saved([1, "a"]),
}
"""By what must be said of it: a file that holds no weights."""


@pytest.mark.parametrize("said", OTHERS)
def test_what_is_no_weights_is_told_by_its_content_with_the_remedy(said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content, path = OTHERS[said], tmp_path / "weights.safetensors"
    path.write_bytes(content() if callable(content) else content)
    with pytest.raises(CheckpointError) as refused:
        taken(path)
    text = str(refused.value)
    assert said in text
    assert text.startswith(str(path))
    assert "weights_only" not in text
    assert list(tmp_path.iterdir()) == [path]  # nothing was run


def test_a_folder_names_the_weights_in_it_and_a_run_s_checkpoint_the_way_to_go_on(tmp_path, copied):
    safetensors.torch.save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        read_contents(tmp_path)
    with pytest.raises(CheckpointError, match="start_from"):
        read_contents(copied.folder / "checkpoints" / "last.safetensors")


def test_what_does_not_fit_prints_the_network_that_would(tmp_path):
    """The nearest is one of ours, one of timm, or one that is no backbone; a network with more blocks does not fit."""
    path = tmp_path / "w.pth"
    state = {f"module.{k}": v.half() for k, v in models.resnet34().state_dict().items()}
    torch.save({"state_dict": state}, path)
    with pytest.raises(CheckpointError, match=r"not those of resnet18.*resnet34") as refused:
        check_weights(BACKBONES["resnet18"], str(path))
    assert refused.value.fixes[0].changes == {"backbone": "resnet34"}
    torch.save(models.squeezenet1_1().state_dict(), path)
    with pytest.raises(CheckpointError, match="torchvision's squeezenet1_1"):
        check_weights(BACKBONES["resnet34"], str(path))
    torch.save(Small().state_dict(), path)
    with pytest.raises(CheckpointError, match="No network known"):
        check_weights(BACKBONES["resnet34"], str(path))


def test_a_network_of_timm_is_named_too(tmp_path):
    timm = pytest.importorskip("timm")
    network = timm.create_model("mobilenetv4_conv_small_035", num_classes=3)
    torch.save({"ema": {f"module.{k}": v for k, v in network.state_dict().items()}}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="timm:mobilenetv4_conv_small_035"):
        check_weights(BACKBONES["mobilenet_v2"], str(tmp_path / "w.pth"))
    assert "timm:mobilenetv4_conv_small_035" in known()[signature_of(network)]
