"""The report over a data set: against one image at a time by hand, and its intervals against a plain bootstrap."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from pmsi.config import TrainConfig
from pmsi.data.plumage import plumage
from pmsi.data.preprocessing import centre_crop, normalize, resize, to_tensor
from pmsi.explain import cam
from pmsi.explain import resize as enlarge
from pmsi.explain.measures.baselines import edge_map
from pmsi.explain.measures.pointing import energy, pointing, widened
from pmsi.explain.measures.report import PAIR, ImageMeasures, MapEvaluator, MeasureSettings, report
from pmsi.methods import build

SMALL = TrainConfig(backbone="tiny", weights="none", image_size=64, channels=8, hidden=6, test_per_class=2, resize=72)
MEASURES = {"pointing", "energy"}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = build(SMALL, 12)
    for layer in model.modules():
        if isinstance(layer, torch.nn.Linear):
            layer.weight.data.mul_(3)
    return model.eval()


@pytest.fixture(scope="module")
def dataset():
    return plumage(test_per_class=2, size=96)


@pytest.fixture(scope="module")
def examined(model, dataset):
    evaluator = MapEvaluator(model, dataset, SMALL, MeasureSettings(tolerance=3.0), batch_size=5)
    return evaluator, evaluator.measure()


def test_each_image_is_measured_as_by_hand(examined, model, dataset):
    evaluator, looks = examined
    assert [look.key for look in looks] == [sample.key for sample in dataset.test]
    for sample, look in list(zip(dataset.test, looks, strict=True))[::5]:
        crop = centre_crop(resize(dataset.open_image(sample), 72), 64)
        maps = cam(model, normalize(to_tensor(crop)[None]), classes=torch.tensor([sample.label]))
        assert look.predicted == int(maps.logits["mix"].argmax())
        bird = resize_mask(dataset.open_parts(sample)["bird"])
        numbers = look.regions["object"]
        assert numbers["area"] == pytest.approx(bird.mean())
        for stage in ("S3", "S4", "S5"):
            values = enlarge(maps.raw[stage], 64)[0].numpy()
            assert numbers[f"{stage}/energy"] == pytest.approx(energy(values, bird), abs=1e-4)
            assert (stage in look.blank) == (not values.any())
        assert numbers["edges/energy"] == pytest.approx(energy(edge_map(crop), bird))
        assert numbers["edges/pointing"] == pointing(edge_map(crop), widened(bird, 3.0))
        assert numbers["centre/pointing"] == widened(bird, 3.0)[31:33, 31:33].mean()
        rival = evaluator.rivals[sample.label]
        telling = np.any([resize_mask(dataset.open_parts(sample)[part]) for part in rival.parts], axis=0)
        if telling.any():
            assert look.regions["telling"]["area"] == pytest.approx(telling.mean())
            focus = look.regions["focus"]
            assert focus["area"] == pytest.approx(telling.sum() / bird.sum())
            for source in ("S3", "edges", "random S5"):
                share = look.regions["telling"][f"{source}/energy"] / numbers[f"{source}/energy"]
                assert focus[f"{source}/energy"] == pytest.approx(share, abs=1e-4)


def resize_mask(mask):
    grey = Image.fromarray(mask.astype(np.uint8) * 255).resize((72, 72), Image.Resampling.BILINEAR)
    return np.asarray(grey)[4:68, 4:68] >= 128


def test_rivals_come_from_what_the_model_answers(examined, model, dataset):
    given = np.zeros((12, 12))
    with torch.no_grad():
        for sample in dataset.test:
            crop = centre_crop(resize(dataset.open_image(sample), 72), 64)
            given[sample.label] += model(normalize(to_tensor(crop)[None]))["mix"].softmax(1)[0].numpy() / 2
    for label, rival in examined[0].rivals.items():
        siblings = [other for other in range(12) if other // 3 == label // 3 and other != label]
        both = {other: (given[label, other] + given[other, label]) / 2 for other in siblings}
        assert rival.label == max(both, key=both.get)
        assert rival.confusion == pytest.approx(both[rival.label], abs=1e-5)


def test_the_report_adds_up_what_the_images_show(examined):
    evaluator, looks = examined
    found = report(evaluator, looks)
    assert json.loads(json.dumps(found)) == found
    assert found["images"] == 24
    assert (found["head"], found["stages"]) == ("mix", ["S3", "S4", "S5"])
    numbers = found["regions"]["object"]["numbers"]
    sources = {"S3", "S4", "S5", "random S3", "random S4", "random S5", "edges", "centre"}
    pairs = {(stage, floor) for stage in ("S3", "S4", "S5") for floor in (f"random {stage}", "edges")} | {("S3", "S5")}
    measured = {"area"} | {f"{source}/{measure}" for source in sources for measure in MEASURES}
    assert numbers.keys() == measured | {f"{a} - {b}/{measure}" for a, b in pairs for measure in MEASURES}
    for key in measured:
        assert numbers[key]["mean"] == pytest.approx(np.mean([look.regions["object"][key] for look in looks]))
        assert 0 <= numbers[key]["low"] <= numbers[key]["mean"] <= numbers[key]["high"] <= 1
    one, other = (numbers[f"{stage}/energy"]["mean"] for stage in ("S3", "S5"))
    assert numbers["S3 - S5/energy"]["mean"] == pytest.approx(one - other)
    assert (found["removal"], found["drift"]) == (None, {})
    for region in ("telling", PAIR):
        about = found["regions"][region]["numbers"]
        assert about["random S3/energy"]["mean"] == pytest.approx(about["area"]["mean"], rel=0.3)
    shown = [look for look in looks if "telling" in look.regions]
    assert found["regions"]["telling"]["images"] == len(shown) > 12
    pair = [look for look in shown if evaluator.dataset.classes[look.label] in found["pair"]]
    assert found["regions"][PAIR]["images"] == len(pair) <= 4
    assert found["rivals"][found["pair"][0]]["rival"] == found["pair"][1]


def test_batches_order_and_repetition_change_nothing(examined, model, dataset):
    counted = []
    again = MapEvaluator(
        model, dataset, SMALL, MeasureSettings(tolerance=3.0), 7, lambda done, total: counted.append((done, total))
    ).measure()
    assert counted == [(0, 4)] * 4 + [(k, 4) for k in range(1, 5)]
    for one, other in zip(examined[1], again, strict=True):
        assert (one.key, one.predicted) == (other.key, other.predicted)
        for region, numbers in one.regions.items():
            for key in numbers.keys() - {f"S{n}/pointing" for n in (3, 4, 5)}:  # a peak is as fragile as rounding
                assert numbers[key] == pytest.approx(other.regions[region][key], abs=1e-4)


def test_a_data_set_with_boxes_alone_has_the_object_alone(model, dataset):
    boxed = replace(
        dataset,
        name="birds",
        test=tuple(replace(sample, box=(20.0, 20.0, 50.0, 40.0)) for sample in dataset.test[:4]),
        open_parts=lambda sample: {},
    )
    evaluator = MapEvaluator(model, boxed, SMALL, MeasureSettings(method="layercam", head="S4", stages=("S4",)))
    found = report(evaluator, [*evaluator.measure(), ImageMeasures("x", 0, 0, ("S4",), {})])
    assert list(found["regions"]) == ["object"]
    assert (found["images"], found["regions"]["object"]["images"]) == (5, 4), "one of them shows no object"
    assert found["blank"]["S4"] >= 0.2
    assert (found["method"], found["head"], found["rivals"], found["pair"]) == ("layercam", "S4", {}, None)
