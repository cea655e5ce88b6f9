"""docs/adding-a-method.md does what it says: its file and its row make a method that is everywhere."""

import importlib.util
import re
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from pmsi import methods, tasks
from pmsi.choices import options_of
from pmsi.cli import main as cli
from pmsi.config import TrainConfig
from pmsi.methods import METHODS
from pmsi.model import BACKBONES
from pmsi.model.batch import STAGES
from pmsi.predictor import Predictor
from pmsi.runs import Run, State
from pmsi.tables import expand

PAGE = Path(__file__).parents[2] / "docs" / "adding-a-method.md"
FILE, ROW = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.fixture
def gem(tmp_path, monkeypatch):
    """The page's class, from a file of its own, with its row in METHODS."""
    path = tmp_path / "gem.py"
    path.write_text(FILE)
    spec = importlib.util.spec_from_file_location("gem", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    rows = eval("{" + ROW + "}", vars(methods) | {"GeM": module.GeM})
    assert list(rows) == ["gem"]
    monkeypatch.setitem(METHODS, "gem", rows["gem"])
    return module.GeM


def test_its_pooling_is_the_average_where_p_is_1_and_nearly_the_maximum_where_p_is_large(gem):
    backbone = BACKBONES["tiny"].make(None)
    channels = backbone.channels[-1]
    model = gem(backbone, channels)
    nn.init.eye_(model.classifier.weight)
    nn.init.zeros_(model.classifier.bias)
    last = torch.rand(2, channels, 4, 5) + 0.1
    for p, expected in ((1.0, last.mean(dim=(2, 3))), (60.0, last.amax(dim=(2, 3)))):
        nn.init.constant_(model.p, p)
        torch.testing.assert_close(model.classify([last])["classifier"], expected, rtol=0.06, atol=0)


@pytest.mark.usefixtures("gem")
def test_it_can_be_chosen_in_the_command_line_and_in_the_app(capsys):
    with pytest.raises(SystemExit):
        cli.main(["train", "--help"])
    about = re.search(r"\n  --method NAME(.*?)\n  --", capsys.readouterr().out, re.DOTALL)[1]
    assert re.search(r"\| gem\b", about)
    assert "gem" in options_of(next(field for field in fields(TrainConfig) if field.name == "method"))


def test_it_trains_predicts_and_explains(gem, tmp_path, tiny_config):
    run = Run.create(tmp_path / "runs", tiny_config.with_(method="gem", epochs=1))
    assert tasks.execute(run) is State.FINISHED
    predictor = Predictor.load(run)
    assert isinstance(predictor.model, gem)
    assert predictor.model.p.item() != 3.0  # it has learnt
    found = predictor.explain(predictor.prepare(Image.effect_noise((80, 70), 60)))
    assert found.head == "classifier"
    assert list(found.maps) == [f"S{n}" for n in range(STAGES - 2, STAGES + 1)]


@pytest.mark.usefixtures("gem")
def test_it_has_a_line_in_the_table_beside_the_paper_s_systems(tiny_config):
    table = expand("5", tiny_config)
    assert [line.title for line in table.lines if line.key == "gem"] == ["GeM pooling"]
    assert tiny_config.with_(method="gem") in table.configs
    assert all(cell.printed is None for cell in table.cells.values() if cell.line == "gem")
    assert "gem" not in {line.key for line in expand("3", tiny_config).lines}
