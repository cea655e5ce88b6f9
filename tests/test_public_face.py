"""What `import pmsi` offers, and that the pages and programs that show it run as they stand."""

import importlib.util
import inspect
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import pmsi
from pmsi.base.errors import ConfigError, PMSIError, UnknownName
from pmsi.base.vision import models
from pmsi.explain.cam import cam as stage_cam

ROOT = Path(__file__).parent.parent


def test_the_public_names_exist_with_docstrings_and_type_checkers_see_the_same():
    imports = re.findall(r"    from ([\w.]+) import (\w+) as (\w+)", Path(pmsi.__file__).read_text())
    assert {(module, name) for module, name, _ in imports} == {(home, name) for name, home in pmsi._HOMES.items()}
    assert all(name == alias for _, name, alias in imports)
    assert set(pmsi.__all__) <= set(dir(pmsi))
    for name in set(pmsi.__all__) - {"__version__"}:
        value = getattr(pmsi, name)
        assert isinstance(value, dict) or inspect.getdoc(value), name
    with pytest.raises(AttributeError):
        pmsi.no_such_name  # noqa: B018


def test_the_import_loads_nothing_heavy():
    code = "import sys, pmsi; dir(pmsi); sys.exit(bool({'torch', 'numpy', 'PIL'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_the_examples_of_the_page_run_in_order(tmp_path, monkeypatch, cache_folder):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "python.md").read_text(), re.M | re.S)
    assert len(blocks) > 5
    for block in blocks:
        exec(compile(block, "docs/python.md", "exec"), names)
    assert names["run"].result()["last"]["accuracy"] == pytest.approx(names["scores"].accuracy)
    assert set(names["maps"]) == {"S3", "S4", "S5"}
    with pytest.raises(PMSIError, match="finished"):
        pmsi.train(names["run"])


def test_the_example_of_a_plain_resnet_trains(tmp_path, capsys):
    draw = np.random.default_rng(0)
    for number, kind in enumerate(("one", "two", "three", "four")):
        (tmp_path / kind).mkdir()
        Image.fromarray(draw.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(tmp_path / kind / f"{number}.png")
    spec = importlib.util.spec_from_file_location("train_resnet", ROOT / "examples" / "train_resnet.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    model = example.train(str(tmp_path), epochs=1, size=32, batch_size=4)
    assert model.fc.out_features == 4
    assert re.search(r"r = 3: \d.*r = 2: \d.*r = 1: \d.*r = 0: \d", capsys.readouterr().out)


def test_training_that_cannot_start_leaves_no_folder_and_one_that_fails_says_why(tmp_path, tiny_config, monkeypatch):
    with pytest.raises(UnknownName):
        pmsi.train(tiny_config.with_(method="no such"), tmp_path / "runs")
    assert not (tmp_path / "runs").exists()

    def fail(config, run):
        raise ConfigError("Too little of it. Take more.")

    monkeypatch.setattr("pmsi.training.session.train", fail)
    with pytest.raises(PMSIError, match="Take more"):
        pmsi.train(tiny_config, tmp_path / "runs")


# Maps of any network


def test_maps_of_modules_equal_those_of_stages_for_any_method(tiny_config, generator):
    """One network seen in two ways: its stages in the open, and as modules of a network that nobody knows."""
    model = pmsi.build_model(tiny_config, 5).eval()
    images = torch.randn(2, 3, 64, 64, generator=generator)

    class Foreign(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, images):
            return self.inner(images)

    names = {"S4": "inner.backbone.pieces.3", "S5": "inner.backbone.pieces.4"}
    asked = {"head": "concat", "classes": torch.tensor([1, 3])}
    for method in ("gradcam", "layercam", "gradcam_plus_plus"):
        ours = stage_cam(model, images, stages=tuple(names), method=method, **asked)
        theirs = pmsi.cam(Foreign().eval(), images, stages=tuple(names.values()), method=method, **asked)
        for stage, name in names.items():
            torch.testing.assert_close(theirs.raw[name], ours.raw[stage])
        torch.testing.assert_close(theirs.logits["mix"], ours.logits["mix"])


def test_grad_cam_of_a_plain_resnet_by_its_formula(generator):
    model = models.resnet18(num_classes=7).eval().requires_grad_(False)
    images = torch.randn(2, 3, 64, 64, generator=generator)
    found = pmsi.cam(model, images, stages=("layer3", "layer4"))
    before = torch.nn.Sequential(*list(model.children())[:7])
    maps = before(images).requires_grad_()
    logits = model.fc(model.layer4(maps).mean(dim=(2, 3)))
    assert torch.equal(found.classes, logits.argmax(dim=1))
    for number in range(2):
        (gradient,) = torch.autograd.grad(logits[number, found.classes[number]], maps, retain_graph=True)
        alpha = gradient[number].mean(dim=(1, 2))
        expected = sum(a * channel for a, channel in zip(alpha, maps[number].detach(), strict=True)).relu()
        torch.testing.assert_close(found.raw["layer3"][number], expected, rtol=1e-4, atol=1e-6)
    assert found.raw["layer4"].shape == (2, 2, 2)
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("stages", [None, ("no such",), ("fc",)])
def test_what_gives_no_map_is_refused(stages):
    with pytest.raises(ConfigError):
        pmsi.cam(models.resnet18(num_classes=2).eval(), torch.zeros(1, 3, 32, 32), stages=stages)
