"""The theatre of a run: what it keeps of six test images, how much, and that training is the same with and without."""

import json

import numpy as np
import pytest
from learning import Training, assert_equal_bits, go_on
from PIL import Image
from small import SMALL

from pmsi.base.errors import RunError
from pmsi.data.record import ImageRecord
from pmsi.pictures.encoding import jpeg
from pmsi.predictor import Predictor
from pmsi.runs import Run, Stopped
from pmsi.runs.theatre import CELLS, FILE, IMAGES, MOMENTS, PICTURE, Moment, Theatre, theatre_of
from pmsi.training.theatre import QUALITY, chosen, moments_of

CONFIG = SMALL.with_(dropout=0.5)


@pytest.fixture
def trained(tmp_path, colour_dataset):
    """Return a function that trains a run; it is stopped during so many phases, one after the other, and goes on."""

    def train(config=CONFIG, stops=()):
        run = Run.create(tmp_path, config)
        for phases in stops:
            trainer = Training(config, colour_dataset, run)
            _stop_after(trainer, phases)
            with pytest.raises(Stopped):
                trainer.fit()
            run = go_on(run)
        Training(config, colour_dataset, run).fit()
        return run

    return train


def _stop_after(trainer, phases):
    done, after_phase = [], trainer.after_phase

    def stopping(phase, loss):
        done.append(phase)
        if len(done) == phases:
            (trainer.run.folder / "stop").touch()
        after_phase(phase, loss)

    trainer.after_phase = stopping


def test_training_is_the_same_without_and_an_interruption_changes_nothing(trained):
    """SMALL has 16 phases an epoch: the first stop is within the first epoch, the second during its test."""
    run, without = trained(), trained(CONFIG.with_(theatre=False))
    assert_equal_bits(run, without)
    assert theatre_of(without) is None
    stopped = trained(stops=(5, 11, 9))
    assert (stopped.folder / FILE).read_bytes() == (run.folder / FILE).read_bytes()


def test_the_last_moment_is_what_the_trained_network_says(trained, colour_dataset):
    run = trained()
    theatre, predictor = theatre_of(run), Predictor.load(run)
    assert [moment.epoch for moment in theatre.moments] == [0, 1, 2]
    assert len(set(theatre.keys)) == IMAGES
    assert set(theatre.labels) == {0, 1, 2, 3}
    last, stored = theatre.moments[-1], json.loads((run.folder / "predictions.json").read_text())
    for number, key in enumerate(theatre.keys):
        answers = {head: labels[number][0] for head, labels in last.labels.items()}
        at = stored["keys"].index(key)
        assert answers == {head: labels[at] for head, labels in stored["predicted"].items()}
        label = theatre.labels[number]
        picture = predictor.prepare(colour_dataset.open_image(colour_dataset.find(key)))
        expected = predictor.explain(picture, label=label).maps
        for stage in ("S3", "S4", "S5"):
            top = expected[stage].max()
            np.testing.assert_allclose(last.map(stage, number), expected[stage], atol=top / 255 + 1e-6, rtol=1e-3)


def test_images_are_chosen_by_their_pixels_one_of_each_class_as_far_as_it_goes():
    images = [ImageRecord(f"{n}", n % 4, f"{n * 7919 % 97:032x}") for n in range(40)]
    first = [images[n] for n in chosen(images)]
    assert sorted(image.label for image in first[:4]) == [0, 1, 2, 3]
    assert [images[::-1][n] for n in chosen(images[::-1])] == first
    assert len(chosen(images[:3])) == 3


def test_a_theatre_is_bounded_and_a_damaged_one_is_refused(copied):
    """Noise is what compresses worst, and a run of thousands of epochs in which all stages take part is the longest."""
    assert max(map(len, (moments_of(SMALL.with_(epochs=epochs)) for epochs in (1, 19, 20, 5000)))) == MOMENTS
    assert {0, 1, 2, 5000} - moments_of(SMALL.with_(epochs=5000)) == {1, 2}
    draw, heads = np.random.default_rng(0), ("S1", "S2", "S3", "S4", "S5", "concat", "mix")
    noise = jpeg(Image.fromarray(draw.integers(0, 256, (PICTURE, PICTURE, 3), np.uint8)), QUALITY)
    guesses = dict.fromkeys(heads, [[11, 10, 9]] * IMAGES)
    maps = dict.fromkeys(("S3", "S4", "S5"), draw.integers(0, 256, (IMAGES, CELLS, CELLS), np.uint8))
    sure, peaks = dict.fromkeys(heads, [[0.1234] * 3] * IMAGES), dict.fromkeys(maps, [draw.random()] * IMAGES)
    moments = tuple(Moment(epoch, guesses, sure, maps, peaks) for epoch in range(MOMENTS))
    longest = Theatre((), ("test/0/0",) * IMAGES, (0,) * IMAGES, (noise,) * IMAGES, "mix", moments)
    longest.write(copied.folder)
    path = copied.folder / FILE
    assert path.stat().st_size < 2.5e5
    assert np.array_equal(theatre_of(copied).moments[-1].maps["S4"], maps["S4"])
    sound = json.loads(path.read_text())
    for change in (
        {"labels": [12] * IMAGES},
        {"pictures": sound["pictures"][:5]},
        {"primary": "S9"},
        {"moments": [sound["moments"][0] | {"maps": sound["moments"][0]["maps"] | {"S3": "AAAA"}}]},
        {"moments": [sound["moments"][0] | {"labels": {"mix": [[0]]}}]},
    ):
        path.write_text(json.dumps(sound | change))
        with pytest.raises(RunError, match=FILE):
            theatre_of(copied)
    path.unlink()
    assert theatre_of(copied) is None
