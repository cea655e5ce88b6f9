"""Any batch as the network sees it: the very pixels that training passes on."""

import pytest
import torch

from pmsi import training
from pmsi.data import open_dataset
from pmsi.errors import ConfigError
from pmsi.runs import Run
from pmsi.shown import batch_keys, place_of, shown_phases

METHODS = {"pmr": {}, "pmg": {}, "pr": {"augmentation": "cutmix"}, "pm": {"augmentation": "rmg", "nested": True}}


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_is_what_training_shows_then(method, tiny_config, tmp_path, monkeypatch):
    config = tiny_config.with_(method=method, epochs=2, evaluate_every=2, **METHODS[method])
    dataset, seen = open_dataset(config), []
    real = training.normalize
    monkeypatch.setattr(training, "normalize", lambda images: (seen.append(images.clone()), real(images))[1])
    training.train(config, Run.create(tmp_path, config))
    batches, phases = len(batch_keys(config, dataset)), len(shown_phases(config, dataset))
    assert len(seen) == 2 * batches * phases
    for epoch, batch in ((0, 0), (0, batches - 1), (1, 1)):
        start = (epoch * batches + batch) * phases
        for shown, images in zip(
            shown_phases(config, dataset, epoch, batch), seen[start : start + phases], strict=True
        ):
            assert torch.equal(shown.images, images)


def test_an_image_is_found_where_it_is_shown(tiny_config):
    dataset = open_dataset(tiny_config)
    keys = batch_keys(tiny_config, dataset, epoch=1)
    batch, place = place_of(keys[1][4], keys)
    assert (batch, place) == (1, 4)
    shown = shown_phases(tiny_config, dataset, 1, batch)
    wanted = next(sample for sample in dataset.train if sample.key == keys[1][4])
    assert int(shown[-1].target.label_a[place]) == wanted.label
    assert place_of(dataset.test[0].key, keys) is None


@pytest.mark.parametrize("at", [(2, 0), (0, 99), (-1, 0), (0, -1)])
def test_a_batch_that_there_is_not_is_refused(at, tiny_config):
    with pytest.raises(ConfigError, match="epochs 0 to 1, of batches 0 to 3"):
        shown_phases(tiny_config, open_dataset(tiny_config), *at)
