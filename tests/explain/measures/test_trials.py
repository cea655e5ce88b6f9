"""Trials of images on a model whose evidence is known, and within a report against the measures one by one."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from pmsi.config import TrainConfig
from pmsi.data.plumage import plumage
from pmsi.data.preprocessing import centre_crop, normalize, resize, to_tensor
from pmsi.explain import cam
from pmsi.explain.measures.baselines import edge_map, with_baselines
from pmsi.explain.measures.deletion import deletion, probability_of, ranking, road
from pmsi.explain.measures.drift import drift
from pmsi.explain.measures.report import (
    ROAD_SHARES,
    SHARES,
    Faithfulness,
    MapEvaluator,
    MappedImage,
    MeasureSettings,
    removal_numbers,
    report,
)
from pmsi.methods import build
from pmsi.perturbations import perturb

SMALL = TrainConfig(backbone="tiny", weights="none", image_size=64, channels=8, hidden=6, resize=72)
SETTINGS = MeasureSettings(
    stages=("S3", "S5"), seed=4, faithfulness_per_class=1, drift=("rotation=20", "gaussian_noise=10,40")
)
CELLS = ["rotation=20", "gaussian_noise=10", "gaussian_noise=40"]
MEASURES = {"removal": ("deletion", "insertion", "road"), "drift": ("spearman", "peak", "earth")}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build(SMALL, 12).eval()


@pytest.fixture(scope="module")
def examined(model):
    counted = []
    dataset = plumage(test_per_class=2, size=96)
    dataset = replace(dataset, test=dataset.test[:6])
    evaluator = MapEvaluator(model, dataset, SMALL, SETTINGS, 4, lambda done, total: counted.append((done, total)))
    return evaluator, evaluator.measure(), counted


def test_a_map_of_what_the_model_uses_is_worth_more_than_its_floors():
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    image = normalize(to_tensor(pixels)[None])[0]
    good = np.zeros((2, 2), dtype=np.float32)
    good[0, 0] = 1.0

    def probability(images):
        return (images == image)[:, 0, :8, :8].float().mean(dim=(1, 2))  # what is left of the corner

    found = removal_numbers(probability, image, MappedImage("a", 0, pixels, {"S4": good}), 0)
    sources = ("S4", "random S4", "edges")
    assert found.keys() == {f"{source}/{measure}" for source in sources for measure in MEASURES["removal"]}
    for floor in sources[1:]:
        assert found["S4/deletion"] < found[f"{floor}/deletion"]
        assert found["S4/insertion"] > found[f"{floor}/insertion"]
        assert found["S4/road"] > found[f"{floor}/road"]


def test_a_report_has_the_trials_of_some_images_of_each_class(examined, model):
    evaluator, looks, counted = examined
    tried = [look for look in looks if look.removal]
    assert sorted(look.label for look in tried) == [0, 1, 2]
    assert all(bool(look.drift) == bool(look.removal) for look in looks)
    assert counted[-1] == (5, 5)  # 2 batches and 3 images
    assert [done for done, _ in counted] == sorted(done for done, _ in counted)
    look = tried[1]
    sample = next(sample for sample in evaluator.dataset.test if sample.key == look.key)
    pixels = centre_crop(resize(evaluator.dataset.open_image(sample), SMALL.resize_to), SMALL.image_size)
    label = torch.tensor([sample.label])
    image = normalize(to_tensor(pixels)[None])
    maps = cam(model, image, classes=label, stages=SETTINGS.stages)
    raw = {stage: stack[0].numpy() for stage, stack in maps.raw.items()}
    probability = probability_of(model, maps.head, sample.label)
    assert probability(image).item() == pytest.approx(maps.logits[maps.head].softmax(1)[0, sample.label].item())
    order = ranking(with_baselines(raw, pixels, 4, look.key)["random S5"], 4, look.key)
    expected = deletion(probability, image[0], order, SHARES).area
    assert look.removal["random S5/deletion"] == pytest.approx(expected, abs=1e-4)
    expected = road(probability, image[0], order, 4, look.key, shares=ROAD_SHARES).score
    assert look.removal["random S5/road"] == pytest.approx(expected, abs=1e-4)

    changed = perturb(pixels, "gaussian_noise", 40.0, seed=4, key=look.key)[0]
    after = cam(model, normalize(to_tensor(changed)[None]), classes=label, stages=SETTINGS.stages)
    numbers = look.drift["gaussian_noise=40"]
    for stage in SETTINGS.stages:
        moved = drift(raw[stage], after.raw[stage][0].numpy())
        assert numbers[f"{stage}/earth"] == pytest.approx(moved.earth, abs=1e-3)
    assert numbers["edges/spearman"] == pytest.approx(drift(edge_map(pixels), edge_map(changed)).spearman)


def test_the_report_says_what_the_trials_say_together(examined):
    evaluator, looks, _ = examined
    found = report(evaluator, looks)
    assert json.loads(json.dumps(found)) == found
    assert list(found["drift"]) == CELLS
    groups = {"removal": [found["removal"]], "drift": list(found["drift"].values())}
    for kind, about in groups.items():
        for group in about:
            assert group["images"] == 3
            for measure in MEASURES[kind]:
                for source in ("S3", "random S3", "S5", "random S5", "edges", "S3 - random S3", "S5 - edges"):
                    assert f"{source}/{measure}" in group["numbers"]
    expected = np.mean([look.removal["edges/road"] for look in looks if look.removal])
    assert found["removal"]["numbers"]["edges/road"]["mean"] == pytest.approx(expected)
    noise = [found["drift"][cell]["numbers"]["edges/spearman"]["mean"] for cell in CELLS[1:]]
    assert noise[0] > noise[1]  # the stronger noise leaves less of the image's own edges
    draws = found["drift"]["rotation=20"]["numbers"]["random S3/spearman"]
    assert draws["mean"] == pytest.approx(0, abs=0.3)


def test_severity_0_moves_nothing(model):
    trials = Faithfulness(model, "mix", MeasureSettings(stages=("S3",), drift=("rotation=0",)))
    pixels = np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    maps = cam(model, normalize(to_tensor(pixels)[None]), classes=torch.tensor([3]), stages=("S3",))
    (found,) = trials.drift([MappedImage("a", 3, pixels, {"S3": maps.raw["S3"][0].numpy()})])
    assert found["rotation=0"]["S3/earth"] == pytest.approx(0, abs=1e-6)
    assert found["rotation=0"]["edges/peak"] == 0
    assert found["rotation=0"]["random S3/earth"] > 0.01
    assert trials.drift([]) == []
