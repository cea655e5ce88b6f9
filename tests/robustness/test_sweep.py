"""Sweeps against a naive loop over images, runs and cells; what stopping, batch size and workers must not change."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from untrained import untrained

from pmsi import tasks
from pmsi.base.errors import PMSIError, UnknownName
from pmsi.base.seeding import numpy_generator
from pmsi.base.statistics import mcnemar, paired_bootstrap, wilson
from pmsi.config import RobustnessConfig, TrainConfig
from pmsi.data import DATASETS, DatasetRow, open_dataset
from pmsi.data.dataset import Dataset, Sample
from pmsi.data.loading import EvaluationLoader
from pmsi.data.preprocessing import centre_crop, normalize, resize, to_tensor
from pmsi.engine.checkpoint import CHECKPOINT, load_model, save_checkpoint
from pmsi.methods import build
from pmsi.perturbations import perturb, pixel_hash
from pmsi.robustness import CLEAN, Cell, cells_of
from pmsi.robustness.report import report
from pmsi.robustness.results import read_results
from pmsi.robustness.sweep import sweep
from pmsi.runs import Run, State, Stopped
from pmsi.runs.calibration import Calibration
from pmsi.uncertainty.measures import Answers, ece, nll, unpacked
from pmsi.uncertainty.outputs import digest_of_model, outputs_of
from pmsi.uncertainty.scores import SCORES
from pmsi.uncertainty.temperature import log_probabilities

CLASSES = ("ant", "bee", "cat")
CELLS = (Cell(None, 0.0), Cell("color_jitter", 0.5), Cell("color_jitter", 1.0), Cell("gaussian_noise", 1.0))
TRAINED = TrainConfig(
    dataset="toy", method="pmr", backbone="tiny", weights="none", image_size=32, resize=36, channels=8, hidden=8
)


class Toy:
    """A data set that counts how often its images are opened."""

    def __init__(self):
        self.opened = []

    def open(self, config, progress=None):
        samples = tuple(
            Sample(f"{CLASSES[label]}/{i}", label, digest=f"{4 * label + i:032x}")
            for label in range(3)
            for i in range(4)
        )
        return Dataset("toy", CLASSES, samples, samples[:11], self.open_image)

    def open_image(self, sample):
        self.opened.append(sample.key)
        generator = numpy_generator(sample.key)
        blocks = generator.integers(0, 256, (5, 4, 3), dtype=np.uint8)
        return Image.fromarray(blocks).resize((40, 48), Image.Resampling.BILINEAR)


@pytest.fixture(scope="module", autouse=True)
def toy():
    toy = Toy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATASETS, "toy", DatasetRow("Toy", toy.open, False, "Blocks."))
        yield toy


def trained(root, config=TRAINED, classes=CLASSES):
    """Make a run with a checkpoint whose model answers with various classes."""
    run = Run.create(root, config)
    model = build(config, len(classes))
    toy = Toy()
    images = [to_tensor(resize(toy.open_image(sample), config.image_size)) for sample in toy.open(config).train]
    centre(model, normalize(torch.stack(images)), len(classes))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    save_checkpoint(run.checkpoints / CHECKPOINT, model, optimizer, {"config": config.to_dict(), "classes": [*classes]})
    return run


def subtract_mean(layer, _, logits):
    layer.bias.sub_(logits.mean(dim=0))


@torch.no_grad()
def centre(model, images, classes):
    """Give BatchNorm the statistics of these images, and every class the same mean logit over them."""
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.momentum = 1.0  # all of it: else deep maps hardly vary, and answers hang on the last bit of a sum
    for _ in range(30):  # each layer's statistics settle once those before it have
        model.train()(images)
    last = [layer for layer in model.modules() if isinstance(layer, nn.Linear) and layer.out_features == classes]
    hooks = [layer.register_forward_hook(subtract_mean) for layer in last]
    model.eval()(images)
    for hook in hooks:
        hook.remove()


def sweeping(root, *of, **changes):
    """Make a sweep's run over CELLS for these training runs."""
    config = RobustnessConfig(of=tuple(run.id for run in of), severities=(0.0, 0.5, 1.0), seed=3, batch_size=4)
    return Run.create(root, replace(config, **changes))


@pytest.fixture(scope="module")
def settled_runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    return trained(root), trained(root, replace(TRAINED, method="baseline", seed=1))


@pytest.fixture
def runs(tmp_path, settled_runs):
    return [Run(shutil.copytree(run.folder, tmp_path / run.id)) for run in settled_runs]


@pytest.fixture(scope="module")
def swept(settled_runs, toy):
    """A finished sweep over these runs, its result, and the images that were opened for it."""
    run = sweeping(settled_runs[0].folder.parent, *settled_runs)
    toy.opened.clear()
    result = sweep(run.config, run)
    return run, result, sorted(toy.opened)


def cells_in(run):
    return [Cell(record["perturbation"], record["severity"]) for record in run.metrics()]


def kept(run, cell):
    return json.loads((run.folder / cell.file).read_text())


def predictions(run, cell):
    """What a cell keeps but for probabilities, whose last digits follow from the size of a batch."""
    found = kept(run, cell)
    for said in found["runs"].values():
        del said["answers"], said["scores"]
    return found


def naive(toy, cell, model, config, seed):
    """Return one image after the other: the labels that each head answers, the pixels shown, and what was drawn."""
    answers, hashes, drawn = {head: [] for head in model.heads}, [], {}
    for sample in toy.open(config).test:
        image = Image.fromarray(centre_crop(resize(toy.open_image(sample), config.resize_to), config.image_size))
        if cell.perturbation:
            image, factors = perturb(image, cell.perturbation, cell.severity, seed=seed, key=sample.key)
            for name, value in factors.items():
                drawn.setdefault(name, []).append(value)
        hashes.append(pixel_hash(image))
        for head, logits in model(normalize(to_tensor(np.asarray(image))[None])).items():
            answers[head].append(int(logits.argmax()))
    return {"pixels": hashes, "factors": drawn, "predicted": answers}


def test_a_sweep_is_a_loop_over_cells_runs_and_images_each_opened_once_and_shown_to_all(toy, settled_runs, swept):
    run, result, opened = swept
    keys = [sample.key for sample in toy.open(TRAINED).test]
    expected_cells = (*CELLS[:3], Cell("gaussian_noise", 0.5), CELLS[3])
    assert tuple(cells_in(run)) == cells_of(run.config) == expected_cells
    assert result["cells"] == run.metrics()
    assert result["of"] == [of.id for of in settled_runs]
    assert (result["images"], opened) == (11, sorted(keys))
    varied, hashes = set(), set()
    for cell in expected_cells:
        stored = predictions(run, cell)
        assert (stored["keys"], stored["labels"]) == (keys, [0] * 4 + [1] * 4 + [2] * 3)
        for of in settled_runs:
            model, config, _ = load_model(of, torch.device("cpu"))
            expected = naive(toy, cell, model, config, seed=3)
            assert stored["runs"][of.id] == expected
            varied |= {tuple(labels) for labels in expected["predicted"].values()}
            hashes.add(tuple(expected["pixels"]))
    assert len(varied) > 8  # the comparison is about something
    assert len(hashes) == len(expected_cells)


def test_records_have_the_accuracies_intervals_and_tests_of_the_stored_answers(settled_runs, swept):
    run = swept[0]
    first, second = (of.id for of in settled_runs)
    clean = predictions(run, CELLS[0])
    for record in run.metrics():
        stored = predictions(run, Cell(record["perturbation"], record["severity"]))
        right = {}
        for id, about in record["runs"].items():
            for head, summary in about["heads"].items():
                hits, before = (
                    np.array(answers["runs"][id]["predicted"][head]) == answers["labels"] for answers in (stored, clean)
                )
                right[id, head] = hits
                assert (summary["correct"], summary["n"]) == (hits.sum(), 11)
                assert summary["accuracy"] == pytest.approx(hits.mean())
                assert (summary["low"], summary["high"]) == pytest.approx(wilson(int(hits.sum()), 11))
                assert summary["drop"] == pytest.approx(before.mean() - hits.mean())
                interval = paired_bootstrap(hits, before, seed=0)
                assert (summary["drop_low"], summary["drop_high"]) == pytest.approx(
                    (interval.low, interval.high), abs=0.1
                )
                if record["perturbation"] is None:
                    assert summary["drop"] == summary["drop_low"] == summary["drop_high"] == 0
        assert record["runs"][first]["primary"] == "mix"
        assert record["runs"][second]["primary"] == "classifier"
        assert record["runs"][first]["mcnemar"] is None
        p = mcnemar(right[first, "mix"], right[second, "classifier"])
        assert record["runs"][second]["mcnemar"] == pytest.approx(p)


def test_the_report_of_a_sweep_is_made_of_its_files(settled_runs, swept):
    run, result, _ = swept
    stored = json.loads((run.folder / result["report"]).read_text())
    assert stored == report(run.folder, cells_of(run.config), result["primary"], CLASSES)
    assert stored["comparisons"] == result["comparisons"]
    assert stored["relative_error"] == result["relative_error"]
    by_cell = {Cell.of(record): record["runs"][settled_runs[1].id]["mcnemar"] for record in result["cells"]}
    assert {Cell.of(about): about["p"] for about in stored["comparisons"]} == by_cell


@pytest.mark.parametrize("changes", [{"batch_size": 50}, {"batch_size": 3, "workers": 1}, {"seed": 4}])
def test_neither_batch_size_nor_workers_change_anything_and_another_seed_the_pixels(tmp_path, runs, swept, changes):
    usual, expected, _ = swept
    other = sweeping(tmp_path, *runs, **changes)
    assert (sweep(other.config, other) == expected) == ("seed" not in changes)
    for cell in cells_in(usual):
        first, second = predictions(usual, cell), predictions(other, cell)
        if "seed" not in changes:
            assert first == second
        pixels = [stored["runs"][runs[0].id]["pixels"] for stored in (first, second)]
        assert (pixels[0] == pixels[1]) == ("seed" not in changes or cell.perturbation is None)


def test_runs_of_two_image_sizes_each_see_their_own(tmp_path, toy, runs):
    large = trained(tmp_path, replace(TRAINED, image_size=64, resize=72, method="m"))
    run = sweeping(tmp_path, runs[0], large, perturbations=("gaussian_noise",))
    sweep(run.config, run)
    for of in (runs[0], large):
        model, config, _ = load_model(of, torch.device("cpu"))
        assert predictions(run, CELLS[3])["runs"][of.id] == naive(toy, CELLS[3], model, config, seed=3)


# Stopping and going on


class Impatient(Run):
    """A run that is asked to stop at its nth batch, and counts its batches."""

    def __init__(self, folder, patience=10**6):
        super().__init__(folder)
        self.patience, self.batches, self.seen = patience, 0, []

    def check_stop(self):
        if self.batches == self.patience:
            raise Stopped("enough")
        self.batches += 1

    def progress(self, done, total, text):
        self.seen.append((done, total, text))


@pytest.mark.parametrize("patience", [1, 8])
def test_a_stopped_sweep_goes_on_where_it_was(tmp_path, runs, swept, patience):
    (whole, expected, _), run = swept, sweeping(tmp_path, *runs)
    stopped = Impatient(run.folder, patience)
    with pytest.raises(Stopped):
        sweep(run.config, stopped)
    assert len(run.metrics()) == patience // 3  # cells of three batches
    resumed = Impatient(run.folder)
    assert sweep(run.config, resumed) == expected
    assert resumed.batches == 15 - patience // 3 * 3
    assert resumed.seen[-1][:2] == (15, 15)
    assert resumed.seen[0][:2] == (patience // 3 * 3 + 1, 15)
    assert run.metrics() == whole.metrics()
    for cell in cells_in(whole):
        assert kept(run, cell) == kept(whole, cell)


def test_a_finished_cell_whose_file_is_gone_or_torn_is_repeated(tmp_path, runs):
    run = sweeping(tmp_path, *runs)
    expected = sweep(run.config, run)
    (run.folder / CELLS[1].file).unlink()
    (run.folder / CELLS[2].file).write_text("{")
    again = Impatient(run.folder)
    assert sweep(run.config, again) == expected
    assert again.batches == 6
    assert sorted(map(str, cells_in(run))) == sorted(map(str, cells_of(run.config)))


def test_cells_of_a_model_that_was_trained_further_are_not_mixed_with_new_ones(tmp_path, runs):
    run = sweeping(tmp_path, *runs)
    with pytest.raises(Stopped):
        sweep(run.config, Impatient(run.folder, patience=7))
    checkpoint = runs[1].checkpoints / CHECKPOINT
    newer = trained(tmp_path, replace(TRAINED, method="baseline", seed=9))
    checkpoint.write_bytes((newer.checkpoints / CHECKPOINT).read_bytes())
    resumed = Impatient(run.folder)
    sweep(run.config, resumed)
    assert resumed.batches == 15
    assert len({record["identity"] for record in run.metrics()}) == 1


def test_the_task_runs_as_a_job_in_which_a_run_named_twice_takes_part_once(tmp_path, runs):
    run = sweeping(tmp_path, runs[0], runs[0], perturbations=("gaussian_noise_legacy",))
    assert tasks.execute(run) is State.FINISHED
    assert run.result()["of"] == [runs[0].id]
    assert run.result()["cells"] == run.metrics()
    assert run.status().done == run.status().total == 9


# What is refused, before anything is computed


def refused(root, *of, **changes):
    run = sweeping(root, *of, **changes)
    with pytest.raises(PMSIError) as caught:
        sweep(run.config, run)
    assert run.metrics() == []
    return caught


def test_runs_on_different_data_or_classes_are_refused(tmp_path, runs):
    others = [
        (trained(tmp_path, replace(TRAINED, split_seed=5)), "split_seed"),
        (trained(tmp_path, replace(TRAINED, dataset="plumage")), "dataset"),
        (trained(tmp_path, classes=("ant", "bee", "cow", "dog")), "are not the 4"),
    ]
    for other, reason in others:
        found = str(refused(tmp_path, *runs, other).value)
        assert reason in found
        assert other.id in found


def test_runs_with_other_limits_on_test_images_are_compared_only_on_the_sweeps_own(tmp_path, runs):
    other = trained(tmp_path, replace(TRAINED, test_per_class=2))
    assert "test_per_class" in str(refused(tmp_path, runs[0], other).value)
    run = sweeping(tmp_path, runs[0], other, test_per_class=1)
    assert sweep(run.config, run)["images"] == 3


def test_no_run_unknown_runs_and_runs_without_a_model_are_refused(tmp_path, runs):
    assert "name at least one" in str(refused(tmp_path).value)
    assert "no run 'nothing'" in str(refused(tmp_path, Run(tmp_path / "nothing")).value)
    assert "no model" in str(refused(tmp_path, sweeping(tmp_path, *runs)).value)
    assert refused(tmp_path, *runs, perturbations=("blur",)).type is UnknownName
    assert "from 0 to 1" in str(refused(tmp_path, *runs, severities=(5.0,)).value)


def test_a_perturbation_may_bring_severities_of_its_own(tmp_path, runs):
    config = RobustnessConfig(perturbations=("c_fog=1,3", "color_jitter", "rotation=0,12.5"), severities=(0.5,))
    expected = [("c_fog", 1.0), ("c_fog", 3.0), ("color_jitter", 0.5), ("rotation", 12.5)]
    assert [(cell.perturbation, cell.severity) for cell in cells_of(config)[1:]] == expected
    assert "such as rotation=10,20" in str(refused(tmp_path, *runs, perturbations=("c_fog=1;3",)).value)
    cells = cells_of(RobustnessConfig())
    assert cells[0] == Cell(None, 0.0)
    assert [cell.severity for cell in cells[1:]] == [0.25, 0.5, 0.75, 1.0, 5.0, 10.0, 20.0, 40.0]
    assert len({cell.file for cell in cells}) == len(cells)


def test_cells_keep_what_calibration_and_scores_need(tmp_path, tiny_config):
    """A sweep's clean cell gives the measures that `pmsi calibrate` finds on the same images."""
    run = untrained(tmp_path, tiny_config)
    model = load_model(run, torch.device("cpu"))[0]
    Calibration(digest_of_model(model), "test", 12, dict.fromkeys(model.heads, 0.5)).write(run)
    made = Run.create(tmp_path, RobustnessConfig(of=(run.id,), perturbations=("gaussian_noise=10",), batch_size=5))
    assert tasks.execute(made) == "finished"
    results = read_results(made)
    dataset = open_dataset(tiny_config)
    loader = EvaluationLoader(dataset, dataset.test, tiny_config, 8)
    found = outputs_of(model, loader, torch.device("cpu"))
    scores = kept(made, CLEAN)["runs"][run.id]["scores"]
    for head, logits in found.logits.items():
        for kind, temperature in {"raw": 1.0, "calibrated": 0.5}.items():
            expected = Answers.of(log_probabilities(logits, temperature), found.labels)
            said = results.answers(CLEAN, run.id)[kind][head]
            assert nll(said) == pytest.approx(nll(expected), rel=1e-4)
            assert ece(said) == pytest.approx(ece(expected), abs=1e-4)
        assert unpacked(scores["energy"][head]) == pytest.approx(SCORES["energy"].of(logits), rel=1e-4)
    assert nll(results.answers(Cell("gaussian_noise", 10.0), run.id)["raw"]["mix"]) != nll(
        results.answers(CLEAN, run.id)["raw"]["mix"]
    )
