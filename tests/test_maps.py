"""The task "maps": a trained run's report as a run of its own."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from untrained import untrained

from pmsi import tasks
from pmsi.base.errors import ConfigError, DataError, RunError, UnknownName
from pmsi.base.files import read_json
from pmsi.config import MapsConfig
from pmsi.data import open_dataset
from pmsi.engine.checkpoint import load_model
from pmsi.explain.measures import parts
from pmsi.explain.measures.report import MapEvaluator, MeasureSettings, report
from pmsi.explain.measures.sanity import randomised
from pmsi.maps import LOOKS, check, estimate, sampled
from pmsi.predictor import Predictor
from pmsi.runs import Run, State


@pytest.fixture
def trained(copied):
    return copied


def test_the_task_writes_what_the_report_says(trained, tmp_path):
    config = MapsConfig(
        of=trained.id,
        method="layercam",
        stages=("S4", "S5"),
        tolerance=4.0,
        batch_size=5,
        faithfulness_per_class=1,
        drift=("rotation=20",),
    )
    run = Run.create(tmp_path, config)
    assert tasks.execute(run) is State.FINISHED
    model, learned, _ = load_model(trained, torch.device("cpu"))
    settings = MeasureSettings("layercam", None, ("S4", "S5"), 4.0, config.seed)  # without the trials
    evaluator = MapEvaluator(model, open_dataset(learned), learned, settings, 5)
    looks = evaluator.measure()
    expected = {"of": trained.id, "protocol": "regions", "skipped": 0, "data": [], **report(evaluator, looks)}
    found = run.result()
    assert found.keys() == expected.keys()
    assert found["rivals"] == expected["rivals"]
    for region, about in expected["regions"].items():
        for key, ends in about["numbers"].items():
            assert found["regions"][region]["numbers"][key] == pytest.approx(ends)
    assert found["removal"]["images"] == 12
    assert found["removal"]["numbers"].keys() >= {"S4/deletion", "random S5/insertion", "edges/road"}
    assert list(found["drift"]) == ["rotation=20"]
    foreseen = estimate(config, tmp_path)
    assert (foreseen.images, foreseen.faithfulness) == (found["images"], 12)
    assert 0 < foreseen.seconds_an_image < foreseen.seconds
    stored = read_json(run.folder / LOOKS)
    assert [look["key"] for look in stored["looks"]] == [look.key for look in looks]


def test_parts_are_measured_by_head_and_in_pairs(trained, tiny_config, tmp_path, monkeypatch):
    other = untrained(tmp_path, tiny_config.with_(method="baseline"))
    monkeypatch.setattr(parts, "THRESHOLDS", (0.05, 0.3))
    monkeypatch.setattr("pmsi.data.plumage.BACKGROUNDS", 1)
    config = MapsConfig(
        of=trained.id, beside=other.id, protocol="parts", rival="likeliest", test_per_class=1, stages=("S3",)
    )
    assert estimate(config, tmp_path).images == 12
    run = Run.create(tmp_path, config)
    assert tasks.execute(run) is State.FINISHED
    found, kept = run.result(), read_json(run.folder / LOOKS)
    assert [len(kept[name]) for name in ("parts", "beside")] == [12, 12]
    assert found["agreement"].keys() == {"S3", "S4", "S5", "concat", "mix"}
    assert found["agreement"]["S4"]["oracle/correlation"]["mean"] == pytest.approx(1)
    assert {f"{m} S3/deletion" for m in found["methods"]} <= found["agreement"]["mix"].keys()
    losses = [
        one["importance"]["mix"]["bill/without"] for one in kept["parts"] if "bill/without" in one["importance"]["mix"]
    ]
    assert found["importance"]["mix"]["bill/without"]["mean"] == pytest.approx(np.mean(losses))
    beside = found["beside"]
    pairs = [
        two["importance"]["classifier"]["bill/without"] - one["importance"]["mix"]["bill/without"]
        for one, two in zip(kept["parts"], kept["beside"], strict=True)
        if "bill/without" in one["importance"]["mix"]
    ]
    assert beside["minus"]["importance"]["bill/without"]["mean"] == pytest.approx(np.mean(pairs))
    assert found["thresholds"] == beside["thresholds"], "one threshold for a pair"
    with pytest.raises(ConfigError, match="likeliest"):
        check(config.with_(rival="confused"), tmp_path)


def test_shuffled_layers_change_the_maps_that_depend_on_them(trained, tmp_path):
    run = Run.create(tmp_path, MapsConfig(of=trained.id, protocol="sanity", test_per_class=1))
    assert tasks.execute(run) is State.FINISHED
    found = run.result()
    assert found["layers"] == ["concat", "classifiers", "interaction", "smooth", "S5", "S4", "S3", "S2", "S1"]
    alike = {layer: {key: ends["mean"] for key, ends in each.items()} for layer, each in found["numbers"].items()}
    assert all(value == pytest.approx(1) for key, value in alike["nothing"].items() if "random" not in key)
    assert abs(np.mean([value for key, value in alike["nothing"].items() if "random" in key])) < 0.2
    for stage, layer in (("S5", "smooth"), ("S4", "S5"), ("S3", "S4")):
        assert alike[layer][f"eigencam {stage}/spearman"] == pytest.approx(1)  # of activations alone
    assert alike["S1"]["eigencam S4/spearman"] < 0.9
    assert alike["classifiers"]["gradcam S4/spearman"] < 0.9
    model = load_model(trained, torch.device("cpu"))[0]
    before = {name: value.clone() for name, value in model.named_parameters()}
    changed = next(copy for layer, copy in randomised(model, 0) if layer == "S5")
    after = dict(changed.named_parameters())
    assert all(torch.equal(after[n].flatten().sort()[0], v.flatten().sort()[0]) for n, v in before.items())
    moved = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert any(".pieces.4." in name or "smooth" in name for name in moved)
    assert not any(f".pieces.{n}." in name for n in range(model.backbone.ends[3] + 1) for name in moved)


def test_a_run_beside_it_is_compared_image_by_image(trained, tiny_config, tmp_path):
    other = untrained(tmp_path, tiny_config.with_(seed=5))
    found = {}
    for id in (other.id, trained.id):
        config = MapsConfig(of=trained.id, beside=id, faithfulness_per_class=0, test_per_class=1)
        run = Run.create(tmp_path, config)
        assert tasks.execute(run) is State.FINISHED
        found[id] = run.result()["disagreement"], read_json(run.folder / LOOKS)
    about, kept = found[other.id]
    assert about["beside"] == other.id
    keys = [look["key"] for look in kept["looks"]]
    assert [one["key"] for one in kept["disagreement"]] == keys
    by_key = {one["key"]: one["numbers"] for one in kept["disagreement"]}
    assert about["numbers"]["S4/earth"]["mean"] == pytest.approx(np.mean([by_key[key]["S4/earth"] for key in keys]))
    for stage, most in about["most"].items():
        assert sorted(most) == sorted(keys)
        ranked = [by_key[key][f"{stage}/earth"] for key in most]
        assert ranked == sorted(ranked, reverse=True)
    assert all(ends["mean"] == pytest.approx(0, abs=1e-6) or key.endswith("spearman")
               for key, ends in found[trained.id][0]["numbers"].items())  # fmt: skip


def test_runs_of_other_classes_cannot_be_compared(trained, tmp_path):
    predictor = Predictor.load(trained, "cpu")
    dataset = open_dataset(predictor.config)
    assert [sample.label for sample in sampled(predictor, predictor, dataset, 1)] == list(range(12))
    with pytest.raises(DataError, match="'Ochre Finchling' is not among the classes of both runs"):
        sampled(predictor, SimpleNamespace(classes=("Dodo",)), dataset, 1)


def test_what_cannot_start_is_refused(trained, tmp_path):
    with pytest.raises(UnknownName, match="layercam"):
        check(MapsConfig(of=trained.id, method="camcam"), tmp_path)
    with pytest.raises(UnknownName, match="S1, S2, S3"):
        check(MapsConfig(of=trained.id, stages=("S9",)), tmp_path)
    with pytest.raises(ConfigError, match="stages is empty"):
        check(MapsConfig(of=trained.id, stages=()), tmp_path)
    with pytest.raises(UnknownName, match="gaussian_noise"):
        check(MapsConfig(of=trained.id, drift=("rust",)), tmp_path)
    with pytest.raises(ConfigError, match="rotation=10,20"):
        check(MapsConfig(of=trained.id, drift=("rotation=ten",)), tmp_path)
    for config in (MapsConfig(of="nowhere"), MapsConfig(of=trained.id, beside="nowhere")):
        with pytest.raises(RunError):
            check(config, tmp_path)
