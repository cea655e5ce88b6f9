"""The report over a data set: against one image at a time by hand, and its intervals against a plain bootstrap."""

import json
from dataclasses import replace

import numpy as np
import pytest
import small
import torch
from PIL import Image

from pmsi.data.plumage import plumage
from pmsi.data.preprocessing import centre_crop, normalize, resize, to_tensor
from pmsi.explain import cam
from pmsi.explain import resize as enlarge
from pmsi.explain.measures.baselines import edge_map, with_baselines
from pmsi.explain.measures.deletion import deletion, insertion, probability_of, ranking, road
from pmsi.explain.measures.drift import drift
from pmsi.explain.measures.pointing import energy, pointing, widened
from pmsi.explain.measures.regions import regions_of
from pmsi.explain.measures.report import (
    PAIR,
    ROAD_SHARES,
    SHARES,
    ImageMeasures,
    MapEvaluator,
    MeasureSettings,
    means,
    report,
    with_differences,
)
from pmsi.methods import build
from pmsi.perturbations import perturb

SMALL = small.SMALL.with_(image_size=64, resize=72)
MEASURES = {"pointing", "energy"}
TRIALS = {"removal": ("deletion", "insertion", "road"), "drift": ("spearman", "peak", "earth")}
SETTINGS = MeasureSettings(
    stages=("S3", "S5"), seed=4, faithfulness_per_class=1, drift=("rotation=20", "gaussian_noise=10,40")
)
CELLS = ["rotation=20", "gaussian_noise=10", "gaussian_noise=40"]


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
        assert maps.logits["mix"][0, look.predicted] == pytest.approx(float(maps.logits["mix"].max()), abs=1e-4)
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
        assert rival.label in siblings
        assert rival.confusion == pytest.approx(both[rival.label], abs=1e-5)
        assert rival.confusion == pytest.approx(max(both.values()), abs=1e-5)


def test_each_class_is_explained_against_the_sibling_that_it_is_confused_with(examined, model, dataset):
    against = MapEvaluator(model, dataset, SMALL, MeasureSettings(tolerance=3.0, rival="confused"), batch_size=5)
    found = against.measure()
    assert {label: one.label for label, one in against.rivals.items()} == {
        label: one.label for label, one in examined[0].rivals.items()
    }
    sample = dataset.test[3]
    image = normalize(to_tensor(centre_crop(resize(dataset.open_image(sample), 72), 64))[None])
    rival = torch.tensor([against.rivals[sample.label].label])
    raw = cam(model, image, classes=torch.tensor([sample.label]), rival=rival).raw["S4"][0]
    region = regions_of(dataset, sample, SMALL, against.rivals)["telling"]
    expected = energy(enlarge(raw[None], 64)[0].numpy(), region)
    assert found[3].regions["telling"]["S4/energy"] == pytest.approx(expected, abs=1e-4)
    assert examined[1][3].regions["telling"]["S4/energy"] != pytest.approx(expected, abs=1e-4)


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
        assert one.key == other.key
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


# Trials: deletion, insertion, ROAD and drift


@pytest.fixture(scope="module")
def tried(model, dataset):
    counted = []
    dataset = replace(dataset, test=dataset.test[:6])
    evaluator = MapEvaluator(model, dataset, SMALL, SETTINGS, 4, lambda done, total: counted.append((done, total)))
    return evaluator, evaluator.measure(), counted


def test_a_report_has_the_trials_of_some_images_of_each_class(tried, model):
    evaluator, looks, counted = tried
    removed = [look for look in looks if look.removal]
    assert sorted(look.label for look in removed) == [0, 1, 2]
    assert all(bool(look.drift) == bool(look.removal) for look in looks)
    assert counted[-1] == (5, 5)  # 2 batches and 3 images
    assert [done for done, _ in counted] == sorted(done for done, _ in counted)
    look = removed[1]
    sample = next(sample for sample in evaluator.dataset.test if sample.key == look.key)
    pixels = centre_crop(resize(evaluator.dataset.open_image(sample), SMALL.resize_to), SMALL.image_size)
    label = torch.tensor([sample.label])
    image = normalize(to_tensor(pixels)[None])
    maps = cam(model, image, classes=label, stages=SETTINGS.stages)
    raw = {stage: stack[0].numpy() for stage, stack in maps.raw.items()}
    probability = probability_of(model, maps.head, sample.label)
    assert probability(image).item() == pytest.approx(maps.logits[maps.head].softmax(1)[0, sample.label].item())
    order = ranking(with_baselines(raw, pixels, 4, look.key)["random S5"], 4, look.key)
    for measure in (deletion, insertion):
        expected = measure(probability, image[0], order, SHARES).area
        assert look.removal[f"random S5/{measure.__name__}"] == pytest.approx(expected, abs=1e-4)
    expected = road(probability, image[0], order, 4, look.key, shares=ROAD_SHARES).score
    assert look.removal["random S5/road"] == pytest.approx(expected, abs=1e-4)

    changed = perturb(pixels, "gaussian_noise", 40.0, seed=4, key=look.key)[0]
    after = cam(model, normalize(to_tensor(changed)[None]), classes=label, stages=SETTINGS.stages)
    numbers = look.drift["gaussian_noise=40"]
    for stage in SETTINGS.stages:
        moved = drift(raw[stage], after.raw[stage][0].numpy())
        assert numbers[f"{stage}/earth"] == pytest.approx(moved.earth, abs=1e-3)
    assert numbers["edges/spearman"] == pytest.approx(drift(edge_map(pixels), edge_map(changed)).spearman)


def test_the_report_says_what_the_trials_say_together(tried):
    evaluator, looks, _ = tried
    found = report(evaluator, looks)
    assert json.loads(json.dumps(found)) == found
    assert list(found["drift"]) == CELLS
    groups = {"removal": [found["removal"]], "drift": list(found["drift"].values())}
    for kind, about in groups.items():
        for group in about:
            assert group["images"] == 3
            for measure in TRIALS[kind]:
                for source in ("S3", "random S3", "S5", "random S5", "edges", "S3 - random S3", "S5 - edges"):
                    assert f"{source}/{measure}" in group["numbers"]
    expected = np.mean([look.removal["edges/road"] for look in looks if look.removal])
    assert found["removal"]["numbers"]["edges/road"]["mean"] == pytest.approx(expected)
    noise = [found["drift"][cell]["numbers"]["edges/spearman"]["mean"] for cell in CELLS[1:]]
    assert noise[0] > noise[1]  # the stronger noise leaves less of the image's own edges
    draws = found["drift"]["rotation=20"]["numbers"]["random S3/spearman"]
    assert draws["mean"] == pytest.approx(0, abs=0.3)


# Means and differences


def test_means_are_those_of_a_plain_bootstrap_over_the_images_that_have_a_number():
    values = np.random.default_rng(0).random(40)
    found = means([*({"a": float(v), "b": 1.0} for v in values), *[{"c": 2.0}] * 30], seed=3)
    resampled = [np.random.default_rng((9, i)).choice(values, 40).mean() for i in range(4000)]
    assert found["a"]["mean"] == pytest.approx(values.mean())
    assert (found["a"]["low"], found["a"]["high"]) == pytest.approx(np.quantile(resampled, [0.025, 0.975]), abs=0.02)
    for key, value in (("b", 1.0), ("c", 2.0)):
        assert found[key] == {"mean": value, "low": pytest.approx(value), "high": pytest.approx(value)}
    alone = means([{"a": float(v)} for v in values], seed=3)["a"]
    assert (alone["low"], alone["high"]) == pytest.approx((found["a"]["low"], found["a"]["high"]), abs=0.02)


def test_differences_are_paired():
    rng = np.random.default_rng(1)
    images = []
    for shared in rng.random(50):  # images differ much, the stages of one by 0.1
        images.append({"S3/energy": shared + 0.1, "S5/energy": shared, "random S3/energy": 0.3, "area": 0.2})
    compared = [with_differences(image, ("S3", "S5")) for image in images]
    assert compared[0].keys() == images[0].keys() | {"S3 - random S3/energy", "S3 - S5/energy"}
    found = means(compared, seed=0)
    gap = found["S3 - S5/energy"]
    assert (gap["low"], gap["mean"], gap["high"]) == pytest.approx((0.1, 0.1, 0.1))
    assert found["S3/energy"]["high"] - found["S3/energy"]["low"] > 0.1
    assert found["S3 - random S3/energy"]["mean"] == pytest.approx(found["S3/energy"]["mean"] - 0.3)
    alone = with_differences({"S4/road": 0.5, "edges/road": 0.2}, ("S4",))
    assert {key: value for key, value in alone.items() if " - " in key} == {"S4 - edges/road": pytest.approx(0.3)}
