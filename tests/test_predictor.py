"""A trained run answers: predictor, evaluation and checkpoint agree with the model's own forward pass."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from pmsi import evaluation
from pmsi.base.errors import ConfigError, DataError, RunError, UnknownName
from pmsi.config import EvaluateConfig, TrainConfig
from pmsi.data.loading import EvaluationLoader
from pmsi.data.preprocessing import centre_crop, normalize, resize, to_tensor
from pmsi.engine.checkpoint import load_model
from pmsi.evaluation import class_accuracy, score
from pmsi.explain.cam import cam
from pmsi.predictor import Predictor
from pmsi.runs import Run
from pmsi.training.session import Training

CPU = torch.device("cpu")
SMALL = TrainConfig(
    backbone="tiny", weights="none", image_size=64, epochs=1, batch_size=8, channels=8, hidden=6, lr_new=0.05
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, colour_dataset):
    run = Run.create(tmp_path_factory.mktemp("runs"), SMALL)
    training = Training(SMALL, colour_dataset, run)
    training.fit()
    return run, training.model.eval(), colour_dataset


def test_the_prediction_is_the_softmax_of_the_model_s_own_answer(trained):
    run, model, dataset = trained
    predictor = Predictor.load(run)
    loaded, config, classes = load_model(run, CPU)
    assert (config, classes) == (SMALL, dataset.classes)
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    for sample in dataset.test:
        image = dataset.open_image(sample)
        seen = predictor.prepare(image)
        assert np.array_equal(np.asarray(seen), centre_crop(resize(image, SMALL.resize_to), 64))
        outputs = model(normalize(to_tensor(np.asarray(seen)).unsqueeze(0)))
        prediction = predictor.predict(seen, top=4)
        for head, logits in outputs.items():
            p = logits[0].softmax(dim=0).tolist()
            guesses = prediction.heads[head]
            found = [guess.probability for guess in guesses]
            assert found == sorted(found, reverse=True)
            assert found == pytest.approx([p[guess.label] for guess in guesses], abs=2e-4)
            assert {guess.label: guess.name for guess in guesses} == dict(enumerate(dataset.classes))
        assert prediction.best == prediction.heads["mix"][0]


def test_the_explanation_is_the_cam_of_the_same_picture(trained):
    run, model, dataset = trained
    predictor = Predictor.load(run)
    seen = predictor.prepare(dataset.open_image(dataset.test[0]))
    found = predictor.explain(seen, head="S4", label=2, method="hirescam")
    expected = cam(
        model.requires_grad_(False),
        normalize(to_tensor(np.asarray(seen)).unsqueeze(0)),
        head="S4",
        classes=torch.tensor([2]),
        method="hirescam",
    )
    assert list(found.maps) == ["S3", "S4", "S5"]
    model.requires_grad_(True)
    for stage, values in found.maps.items():  # the predictor folds its BatchNorms: equal but for rounding
        np.testing.assert_allclose(
            values, expected.raw[stage][0], rtol=0, atol=1e-3 * float(expected.raw[stage].max()) + 1e-6
        )
    assert (found.head, found.label) == ("S4", 2)
    assert predictor.explain(seen).label == predictor.predict(seen).best.label


def test_bad_requests_are_refused_by_name(trained):
    predictor = Predictor.load(trained[0])
    picture = Image.new("RGB", (64, 64))
    with pytest.raises(ConfigError, match=r"64 × 64 pixels, found RGB of 32 × 64"):
        predictor.predict(Image.new("RGB", (32, 64)))
    with pytest.raises(ConfigError, match="label = 4: expected a class number from 0 to 3"):
        predictor.explain(picture, label=4)
    with pytest.raises(UnknownName, match="S3, S4, S5, concat, mix"):
        predictor.explain(picture, head="S1")
    with pytest.raises(UnknownName, match="red, green, blue, yellow"):
        predictor.class_number("violet")


def test_scores_count_what_a_plain_loop_counts(trained):
    _, model, dataset = trained
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    scores = score(model, EvaluationLoader(dataset, dataset.test, SMALL, 5), CPU)
    assert model.training
    model.eval()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    right = dict.fromkeys(model.heads, 0)
    for sample in dataset.test:
        crop = centre_crop(resize(dataset.open_image(sample), SMALL.resize_to), 64)
        for head, logits in model(normalize(to_tensor(crop).unsqueeze(0))).items():
            right[head] += int(logits.argmax()) == sample.label
    assert scores.accuracy == pytest.approx({head: count / 12 for head, count in right.items()})
    by_class = class_accuracy(scores, "mix", dataset.classes)
    assert sum(by_class.values()) / 4 == pytest.approx(scores.accuracy["mix"])


def test_an_evaluation_on_other_classes_is_refused(trained, monkeypatch):
    run, _, dataset = trained
    config = EvaluateConfig(of=run.id)
    others = replace(dataset, classes=("green", "red", "blue", "yellow"))
    monkeypatch.setattr(evaluation, "open_dataset", lambda of, progress: others)
    with pytest.raises(DataError, match=r"4 classes of colours are not the 4 that run .* was trained on"):
        evaluation.evaluate(config, Run.create(run.folder.parent, config))


def test_runs_without_a_model_are_refused(tmp_path):
    with pytest.raises(RunError, match="no checkpoint yet"):
        Predictor.load(Run.create(tmp_path, SMALL))
    with pytest.raises(RunError, match="'evaluate' run and has no model"):
        Predictor.load(Run.create(tmp_path, EvaluateConfig(of="x")))
