"""Part protocols: an oracle scores about 1, chance and constants score chance, on a model whose truth is known."""

import numpy as np
import pytest
from PIL import Image
from scipy.special import softmax

from pmsi.base.errors import DataError
from pmsi.data.dataset import Dataset, Interventions, Sample, leave_out
from pmsi.data.plumage import plumage
from pmsi.explain.measures.parts import PartProbe, compared, summed_up

PARTS = ("bill", "crown", "breast", "wing", "tail")
WEIGHTS = np.array([[1.2, 0.9, 0.6, 0.3, 0.06], [-1.2, 0, 0, 0, 0], [0, -0.9, 0, 0, 0]])
BIAS = np.array([0.0, 1.0, 0.1])
"""What each part says for three classes in its own form; in the other form (class 1's bill) it says the opposite."""


class Blocks(Interventions):
    """Pictures of five pixels, one a part: 1 in its own form, 2 in another's, 0 left out; a sixth is the background."""

    removable = PARTS

    def picture(self, values):
        return Image.fromarray(np.array([values], np.uint8))

    def without(self, sample, parts):
        return self.picture([*(0 if part in parts else 1 for part in PARTS), 0])

    def swapped(self, sample):
        return {("bill", "b"): self.picture([2, 1, 1, 1, 1, 0]), ("tail", "b"): self.picture([1, 1, 1, 1, 2, 0])}

    def surroundings(self, sample):
        return {f"place {n}": self.picture([1, 1, 1, 1, 1, n]) for n in (1, 2)}


def answer(pictures):
    values = np.array([np.asarray(one)[0] for one in pictures])
    said = np.select([values[:, :5] == 1, values[:, :5] == 2], [1.0, -1.0], 0.0)
    return {"only": said @ WEIGHTS.T + BIAS}


def explain_by(shares):
    return lambda sample, picture, head, label, rival: {"map S5": shares(sample, picture, label)}


def measured(shares, count=40):
    samples = tuple(Sample(f"bird {n}", 0) for n in range(count))
    birds = Dataset("blocks", ("a", "b", "c"), (), samples, lambda _: None, interventions=Blocks())
    masks = {part: np.arange(8) == n for n, part in enumerate(PARTS)} | {"background": np.arange(8) > 4}
    probe = PartProbe(birds, answer, explain_by(shares), lambda sample: masks, "only")
    return [probe.measure(sample) for sample in samples]


def truth(sample, picture, label):
    """What leaving out each part of a picture takes from the class."""
    values = np.asarray(picture)[0, :5]
    own = np.where(values == 1, 1.0, -1.0) * WEIGHTS[label]
    return dict(zip(PARTS, own / max(own[own > 0].sum(), 1e-9), strict=True))


def chance(sample, picture, label):
    seed = sum(map(ord, f"{sample.key}{picture.tobytes()!r}{label}"))
    return dict(zip([*PARTS, "background"], np.random.default_rng(seed).dirichlet(np.ones(6)), strict=True))


def test_importance_is_what_the_answer_loses():
    found = measured(truth, 1)[0]
    importance = found.importance["only"]
    assert [importance[f"{part}/without"] for part in PARTS] == pytest.approx(WEIGHTS[0])
    assert importance["bill/swap"] == pytest.approx(2.4)
    before, after = softmax([[3.06, -0.2, -0.8], [1.86, 1, -0.8]], axis=1)[:, 0]
    assert importance["bill/without p"] == pytest.approx(before - after)
    assert importance["surroundings/independent"] == 1
    assert importance["background/without p"] == 0
    checks = [found.agreement["only"][f"map S5/{of}@{t}"] for of in ("deletion", "preservation") for t in (0.01, 0.5)]
    assert checks == [1, 0, 1, 0], "all parts are important above 0.01, none above 0.5"


def test_an_oracle_scores_one_and_chance_scores_chance():
    oracle, random = (summed_up(measured(shares, 100), 0)["agreement"]["only"] for shares in (truth, chance))
    for measure in ("correlation", "sensitivity", "deletion", "preservation", "distractibility"):
        assert oracle[f"map S5/{measure}"]["mean"] == pytest.approx(oracle[f"oracle/{measure}"]["mean"])
        assert oracle[f"map S5/{measure}"]["mean"] > 0.99
    for found in (random["map S5/correlation"], random["random/correlation"]):
        assert abs(found["mean"]) < 0.15
    assert random["map S5/sensitivity"]["mean"] == pytest.approx(0.5, abs=0.2)
    checks = [random[f"map S5/{measure}"]["mean"] for measure in ("deletion", "preservation", "distractibility")]
    assert np.mean(checks) < 0.85
    constant = summed_up(measured(lambda *_: dict.fromkeys(PARTS, 0.1)), 0)["agreement"]["only"]
    assert "map S5/correlation" not in constant
    assert constant["map S5/sensitivity"]["mean"] == 0.5


def test_two_models_are_compared_image_by_image():
    ones = measured(truth)
    same, worse = (compared(ones, other, ("only", "only"), 0)["agreement"]["map S5/correlation"]
                   for other in (ones, measured(chance)))  # fmt: skip
    assert (same["mean"], same["p"]) == (0, 1)
    assert worse["high"] < 0
    assert worse["p"] < 1e-4


def test_a_data_set_whose_parts_cannot_be_changed_is_refused():
    birds = Dataset("photos", ("a",), (), (), lambda _: None)
    with pytest.raises(DataError, match="photos"):
        PartProbe(birds, answer, explain_by(truth), lambda _: {}, "only")


def test_a_swap_is_towards_the_class_of_its_name_where_classes_are_left_out():
    birds = leave_out(plumage(test_per_class=1, size=64), ["Ochre Finchling", "Twinbar Reedtail"])
    sample = next(one for one in birds.test if birds.classes[one.label] == "Marsh Reedtail")
    explained, own = [], birds.open_image(sample).tobytes()

    def answer(pictures):
        is_own = np.eye(len(birds.classes))[sample.label]
        return {"only": np.array([is_own if one.tobytes() == own else 1 - is_own for one in pictures])}

    def explain(sample, picture, head, label, rival):
        explained.append(birds.classes[label])
        return {"map S5": {"tail": 1.0}}

    PartProbe(birds, answer, explain, lambda _: dict.fromkeys(("tail", "wing"), np.ones(1)), "only").measure(sample)
    assert set(explained) == {"Marsh Reedtail", "Girdled Reedtail"}
