"""Every method by every augmentation, and every method on every real backbone: one step, a test, a map.

Parametrised over the tables themselves: a row of one's own is tested by being there.
"""

from dataclasses import replace

import pytest
import torch

from pmsi.augment import AUGMENTATIONS
from pmsi.base.errors import ConfigError
from pmsi.config import TrainConfig
from pmsi.data.loading import EvaluationLoader
from pmsi.data.preprocessing import normalize
from pmsi.engine.checkpoint import load_model
from pmsi.evaluation import score
from pmsi.explain.cam import cam
from pmsi.methods import METHODS, resolve
from pmsi.model import BACKBONES
from pmsi.runs import Run
from pmsi.training.session import Training

CPU = torch.device("cpu")

SMALL = TrainConfig(
    backbone="tiny",
    weights="none",
    image_size=64,
    epochs=1,
    batch_size=8,
    channels=8,
    hidden=6,
    projection=16,
    lr_new=0.01,
)
"""One batch an epoch of the data below."""


@pytest.fixture
def dataset(colour_dataset):
    """Twelve images of three of the colours, and one of each to test on: enough for one batch of two classes × 4."""
    train = [sample for sample in colour_dataset.train if sample.label < 3 and sample.key[-2:] < "04"]
    test = [sample for sample in colour_dataset.test if sample.key[-2:] == "00"]
    return replace(colour_dataset, train=tuple(train), test=tuple(test))


def weights_of(model):
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def require_a_step(model, before):
    """Each weight has moved: no layer is left out by every phase, and none is lost to a loss that does not reach it."""
    after = weights_of(model)
    assert all(torch.isfinite(value).all() for value in after.values())
    assert not [name for name, value in after.items() if torch.equal(value, before[name])]


def require_a_test(model, config, dataset):
    """Every head answers, one image at a time as well as all at once."""
    alone, together = (score(model, EvaluationLoader(dataset, dataset.test, config, b), CPU) for b in (1, 4))
    assert set(alone.predicted) == set(model.heads)
    assert model.primary in model.heads
    for head in model.heads:
        assert alone.predicted[head].shape == (4,)
        assert alone.loss[head] == pytest.approx(together.loss[head], rel=1e-3)


def require_maps(model, config, dataset):
    """The last three stages of the head that it predicts with, at their own resolution."""
    images, _ = next(iter(EvaluationLoader(dataset, dataset.test, config, 2)))
    maps = cam(model.eval(), normalize(images))
    assert maps.head == model.primary
    assert {stage: tuple(raw.shape) for stage, raw in maps.raw.items()} == {
        "S3": (2, 8, 8),
        "S4": (2, 4, 4),
        "S5": (2, 2, 2),
    }
    assert all(torch.isfinite(raw).all() and (raw >= 0).all() for raw in maps.raw.values())
    # What speaks against one class speaks for another, so the maps of all classes cannot all be empty.
    of_classes = [cam(model, normalize(images), classes=torch.tensor([label, label])) for label in range(4)]
    assert any(maps.raw["S5"].any() for maps in of_classes)


def works_with_phases(config):
    """Whether the method's phases give the augmentation something to do: R must work with P."""
    deepest = max(phase.r for phase in METHODS[config.method].phases(config))
    return deepest > 0 or not AUGMENTATIONS[config.augmentation].progressive


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_with_every_augmentation(method, augmentation, dataset, tmp_path):
    """By the way of a whole run: trained, tested, written, and read again to be explained."""
    config = SMALL.with_(method=method, augmentation=augmentation)
    run = Run.create(tmp_path, config)
    if not works_with_phases(config):
        with pytest.raises(ConfigError, match="R must work with P"):
            Training(config, dataset, run)
        return
    trainer = Training(config, dataset, run)
    before = weights_of(trainer.model)
    result = trainer.fit()
    require_a_step(trainer.model, before)
    (record,) = [record for record in run.metrics() if record["kind"] == "loss"]
    assert list(record["losses"]) == [phase.head for phase in trainer.system.phases]
    assert set(result["last"]["accuracy"]) == set(trainer.model.heads)
    model, _, classes = load_model(run, CPU)
    assert classes == dataset.classes
    require_a_test(model, config, dataset)
    require_maps(model, config, dataset)


REAL = [name for name, row in BACKBONES.items() if row.download is not None]
"""Those with ImageNet weights: the paper's."""


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("backbone", REAL)
def test_every_method_on_every_real_backbone(method, backbone, dataset, tmp_path):
    config = SMALL.with_(method=method, backbone=backbone)
    trainer = Training(config, dataset, Run.create(tmp_path, config))
    before = weights_of(trainer.model)
    trainer.model.train()
    for batch in trainer.loader.epoch(0):
        trainer._train_batch(batch, 0)
    require_a_step(trainer.model, before)
    assert all(torch.isfinite(loss) for loss in trainer.progress.losses.values())
    require_a_test(trainer.model, config, dataset)
    require_maps(trainer.model, config, dataset)


def test_the_tables_hold_the_systems_of_the_paper():
    """Tables III to V; a row that is lost would be lost to the matrix too."""
    assert {"baseline", "m", "p", "pm", "pr", "pmr", "pmg", "bcnn", "hbp", "pc", "api"} <= METHODS.keys()
    assert {"none", "cutmix", "mixup", "snapmix", "jigsaw", "rmg"} <= AUGMENTATIONS.keys()
    assert {"mobilenet_v2", "resnet18", "resnet34"} <= set(REAL)
    for name, row in METHODS.items():
        assert works_with_phases(SMALL.with_(method=name, augmentation=row.augmentation))
        assert resolve(SMALL.with_(method=name)).method is row
