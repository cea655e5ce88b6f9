"""Every method, augmentation, backbone and switch, each pair of switches in one run: trained, tested, explained.

The options are the rows of the tables themselves: a row of one's own is tested by being there. Backbones differ in
their stages alone, so each of them is in one run with phases and in one without.
"""

from dataclasses import replace
from itertools import chain, combinations, cycle, product, repeat

import pytest
import small
import torch
from covering import pairwise
from learning import Training

from pmsi.augment import AUGMENTATIONS
from pmsi.base.errors import ConfigError
from pmsi.data.loading import EvaluationLoader
from pmsi.data.preprocessing import normalize
from pmsi.engine.checkpoint import load_model
from pmsi.evaluation import score
from pmsi.explain.cam import cam
from pmsi.methods import METHODS, build, resolve
from pmsi.model import BACKBONES
from pmsi.runs import Run

CPU = torch.device("cpu")
SMALL = small.SMALL.with_(epochs=1, projection=16, lr_new=0.01)
"""One batch an epoch of the data below."""

PHASED = [name for name in METHODS if max(phase.r for phase in METHODS[name].phases(SMALL)) > 0]
PLAIN = [name for name in METHODS if name not in PHASED]
"""Methods with phases for an augmentation to work on, and those without."""


def backbones():
    """Every row once, and then the cheapest."""
    return chain(BACKBONES, repeat("tiny"))


COVER = [
    *({"method": method, "backbone": backbone} for method, backbone in zip(PLAIN, backbones(), strict=False)),
    *(
        row | {"method": method, "backbone": backbone}
        for method, backbone, row in zip(
            cycle(PHASED),
            backbones(),
            pairwise(
                augmentation=AUGMENTATIONS,
                permutation=("uniform", "cycle"),
                mix=("logits", "probabilities"),
                heads=("all", "phase"),
                per_image=(True, False),
                nested=(True, False),
            ),
            strict=False,
        )
    ),
]


@pytest.fixture
def dataset(colour_dataset):
    """Twelve images of three of the colours, and one of each to test on: enough for one batch of two classes × 4."""
    train = [sample for sample in colour_dataset.train if sample.label < 3 and sample.key[-2:] < "04"]
    test = [sample for sample in colour_dataset.test if sample.key[-2:] == "00"]
    return replace(colour_dataset, train=tuple(train), test=tuple(test))


@pytest.mark.parametrize("row", COVER, ids=lambda row: "-".join(map(str, row.values())))
def test_each_pair_of_choices_trains_tests_and_explains(row, dataset, tmp_path):
    config = SMALL.with_(**row)
    run = Run.create(tmp_path, config)
    result = Training(config, dataset, run).fit()
    model, _, classes = load_model(run, CPU)
    before = dict(build(config, len(classes)).named_parameters())
    after = dict(model.named_parameters())
    assert all(torch.isfinite(value).all() for value in after.values())
    # No layer is left out by every phase, and none is lost to a loss that does not reach it.
    assert not [name for name, value in after.items() if torch.equal(value, before[name])]
    (record,) = [record for record in run.metrics() if record["kind"] == "loss"]
    assert list(record["losses"]) == [phase.head for phase in resolve(config).phases]
    assert set(result["last"]["accuracy"]) == set(model.heads)
    assert classes == dataset.classes

    alone, together = (score(model, EvaluationLoader(dataset, dataset.test, config, b), CPU) for b in (1, 4))
    for head in model.heads:
        assert alone.predicted[head].shape == (4,)
        assert alone.loss[head] == pytest.approx(together.loss[head], rel=1e-3)

    images, _ = next(iter(EvaluationLoader(dataset, dataset.test, config, 2)))
    maps = cam(model.eval(), normalize(images))
    assert maps.head == model.primary
    assert {stage: raw.shape[1:] for stage, raw in maps.raw.items()} == {"S3": (4, 4), "S4": (2, 2), "S5": (1, 1)}
    assert all(torch.isfinite(raw).all() and (raw >= 0).all() for raw in maps.raw.values())


def test_r_must_work_with_p():
    progressive = [name for name, row in AUGMENTATIONS.items() if row.progressive]
    for method, name in product(PLAIN, progressive):
        with pytest.raises(ConfigError, match="R must work with P"):
            resolve(SMALL.with_(method=method, augmentation=name))


def test_the_tables_hold_the_systems_of_the_paper():
    """Tables III to V; a row that is lost would be lost to the cover too."""
    assert {"baseline", "m", "p", "pm", "pr", "pmr", "pmg", "bcnn", "hbp", "pc", "api"} <= METHODS.keys()
    assert {"none", "cutmix", "mixup", "snapmix", "jigsaw", "rmg"} <= AUGMENTATIONS.keys()
    assert {"mobilenet_v2", "resnet18", "resnet34"} <= BACKBONES.keys()
    assert {row["method"] for row in COVER} == METHODS.keys()
    assert {row["backbone"] for row in COVER} == BACKBONES.keys()


def test_a_pairwise_cover_has_every_pair():
    options = {"a": range(4), "b": range(3), "c": "xy", "d": (True, False)}
    rows = pairwise(**options)
    for one, other in combinations(options, 2):
        assert {(row[one], row[other]) for row in rows} == {(x, y) for x in options[one] for y in options[other]}
    assert len(rows) < 20  # of 48
