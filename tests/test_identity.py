"""Classes and images come, go and change their names between train, stop, resume, evaluate, maps, sweep, tables and
mistakes: each gives the right names, or a refusal that says what has changed. Never a wrong name.

What is right is found by plain loops over the pixels, without digests and records.
"""

import contextlib
import json
import random
import re
import shutil
from dataclasses import dataclass

import pytest
from photos import photo
from PIL import Image

from pmsi import tasks
from pmsi.base.errors import PMSIError
from pmsi.base.files import read_json
from pmsi.config import EvaluateConfig, MapsConfig, RobustnessConfig
from pmsi.data import open_dataset
from pmsi.engine.checkpoint import CHECKPOINT
from pmsi.maps import LOOKS
from pmsi.robustness.results import read_results
from pmsi.runs import Run, State
from pmsi.runs.mistakes import predictions_of, read_predictions
from pmsi.runs.record import why_not_comparable
from pmsi.tables import expand, fill

NAMES = ("ani", "booby", "crow", "dove")


@dataclass(frozen=True)
class Seen:
    """What a folder holds for a config: class names in order, and by split {key: (pixels, class name)}."""

    names: tuple
    train: dict
    test: dict

    @classmethod
    def of(cls, config):
        dataset = open_dataset(config)
        splits = (
            {sample.key: (Image.open(sample.path).tobytes(), dataset.classes[sample.label]) for sample in samples}
            for samples in (dataset.train, dataset.test)
        )
        return cls(dataset.classes, *splits)

    @property
    def tested(self):
        """{pixels: class name} of the test images."""
        return dict(self.test.values())

    @property
    def trained(self):
        """{pixels: class name} of the training images."""
        return dict(self.train.values())


def paint(path, seed):
    photo(path, (40, 40), seed)


# What can happen to a folder: each takes a random.Random and the folder


def rename_class(rng, folder):
    name = rng.choice(sorted(path.name for path in folder.iterdir()))
    (folder / name).rename(folder / f"{rng.choice('azc')}{name}")


def swap_classes(rng, folder):
    a, b = (folder / name for name in rng.sample(sorted(path.name for path in folder.iterdir()), 2))
    a.rename(folder / "aside")
    b.rename(a)
    (folder / "aside").rename(b)


def add_class(rng, folder):
    name = rng.choice(("aardvark", "bunting", "zebra"))
    for number in range(4):
        paint(folder / name / f"{number}.png", rng.randrange(2**32))


def remove_class(rng, folder):
    shutil.rmtree(rng.choice(sorted(folder.iterdir())))


def add_images(rng, folder):
    for number in range(rng.randrange(1, 4)):
        paint(rng.choice(sorted(folder.iterdir())) / f"new{number}.png", rng.randrange(2**32))


def remove_images(rng, folder):
    for path in rng.sample(sorted(folder.rglob("*.png")), 2):
        path.unlink()


def rename_image(rng, folder):
    path = rng.choice(sorted(folder.rglob("*.png")))
    path.rename(path.with_name("renamed.png"))


def swap_images(rng, folder):
    """Exchange two files of different classes: names and counts stay what they were."""
    a, b = (rng.choice(sorted(place.glob("*.png"))) for place in rng.sample(sorted(folder.iterdir()), 2))
    a.rename(folder.parent / "aside.png")
    b.rename(a)
    (folder.parent / "aside.png").rename(b)


def nothing(rng, folder):
    pass


CHANGES = (
    nothing, rename_class, swap_classes, add_class, remove_class, add_images, remove_images, rename_image, swap_images,
)  # fmt: skip


@pytest.fixture(scope="module")
def lab(tmp_path_factory, tiny_config):
    """A folder, what it holds, a run that was trained on it, and one that was stopped in its training."""
    root = tmp_path_factory.mktemp("lab")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PMSI_CACHE", str(root / "cache"))
        for number, name in enumerate(NAMES):
            for image in range(5):
                paint(root / "original" / name / f"{image}.png", 100 * number + image)
        shutil.copytree(root / "original", root / "photos")
        config = tiny_config.with_(
            dataset="folder", data=str(root / "photos"), image_size=32, method="baseline", epochs=1, test_fraction=0.5,
            batch_size=4, train_per_class=None, test_per_class=None, trackers=(),
        )  # fmt: skip
        run, stopped = Run.create(root / "runs", config), Run.create(root / "stopped", config.with_(epochs=2, seed=7))
        assert tasks.execute(run) is State.FINISHED
        with pytest.MonkeyPatch.context() as stop:
            stop.setattr(Run, "stop_requested", property(lambda run: (run.checkpoints / CHECKPOINT).exists()))
            assert tasks.execute(stopped) is State.STOPPED
        yield root, Seen.of(config), run, stopped


@pytest.fixture
def changed(lab, request, monkeypatch, tmp_path):
    """The lab after a change, with the folder as it is then; afterwards it is as it was."""
    root, then, run, stopped = lab
    monkeypatch.setenv("PMSI_CACHE", str(root / "cache"))
    rng = random.Random(str(request.param))
    for change in request.param:
        change(rng, root / "photos")
    yield then, Seen.of(run.config), run, stopped, tmp_path
    shutil.rmtree(root / "photos")
    shutil.copytree(root / "original", root / "photos")


TWICE = tuple(random.Random(0).sample(CHANGES[1:], 2))


def worked(root, of, config):
    """Work on a run of ``config`` in a folder of its own, beside the run that it is about: its checkpoint alone knows
    what it was trained on.
    """
    if not (root / of.id).exists():
        shutil.copytree(of.folder, root / of.id, ignore=shutil.ignore_patterns("data.json.gz"))
    run = Run.create(root, config)
    return run, tasks.execute(run)


def is_refused(then, now):
    """Say whether a model cannot be tested on the folder: other label numbers, or images that it was trained on."""
    return now.names != then.names or leaked(then, now)


def leaked(then, now):
    return sum(pixels in then.trained for pixels in now.tested)


def require_words(message, then, now):
    """A refusal names a class that is new or gone, says that the classes changed, or counts the leaked images."""
    if now.names != then.names:
        assert "classes" in message or any(repr(name) in message for name in {*then.names} ^ {*now.names}), message
    else:
        assert re.search(rf"\b{leaked(then, now)} of {len(now.test)} test images", message), message


def require_truth(changes, then, now):
    """What is said to have changed has: images of a split are counted by their pixels."""
    names = dict(re.findall(r"class '(\w+)' is called '(\w+)'", changes))
    assert {*names, *re.findall(r"class '(\w+)' is gone", changes)} == {*then.names} - {*now.names}
    assert {*names.values(), *re.findall(r"class '(\w+)' is new", changes)} == {*now.names} - {*then.names}
    for split, old, new, other in (
        ("train", then.train, now.train, now.test),
        ("test", then.test, now.test, now.train),
    ):
        old, new, other = (dict(images.values()) for images in (old, new, other))
        told = {
            what: int(n) for n, what in re.findall(rf"(\d+)(?: of \d+)? {split} images (are [a-z ]+|have \w+)", changes)
        }
        assert told.get("are of another class", 0) == sum(
            new.get(p, names.get(c, c)) != names.get(c, c) for p, c in old.items()
        )
        assert told.get("are new", 0) == sum(pixels not in old for pixels in new) - told.get("have other", 0)
        left = sum(pixels not in new for pixels in old)
        moved = sum(pixels not in new and pixels in other for pixels in old)
        assert sum(told.get(f"are {name} images now", 0) for name in ("training", "test")) == moved
        assert told.get("are gone", 0) + told.get("have other", 0) == left - moved


@pytest.mark.parametrize(
    "changed",
    [*((change,) for change in CHANGES), TWICE],
    indirect=True,
    ids=lambda changes: "+".join(change.__name__ for change in changes),
)
def test_names_or_a_refusal(changed, pmsi):
    then, now, run, stopped, root = changed
    same_tested = now.tested == then.tested and not any(pixels in now.trained for pixels in then.tested)

    # What the run answered keeps its names, whatever the folder is called now: a key begins with its class
    answers = read_predictions(run)
    assert answers.classes == then.names
    assert {answer.key: answers.classes[answer.label] for answer in predictions_of(answers, answers.primary)} == {
        key: name for key, (_, name) in then.test.items()
    }
    assert all(key.split("/")[0] == name for key, (_, name) in then.test.items())

    told = pmsi("data", "mistakes", run.id, "--count", 99, "--runs", run.folder.parent)[1]
    named_so = dict(re.findall(r"^  (\S+): (\w+), (?:taken for|right)", told, re.M))
    assert named_so == {key: name for key, (_, name) in then.test.items()}

    # runs check
    status, out, _ = pmsi("runs", "check", run.id, "--json", "--runs", run.folder.parent)
    assert (status == 0) == (json.loads(out)["changes"] == []) == (now == then)
    require_truth("; ".join(json.loads(out)["changes"]), then, now)

    # A checkpoint by itself
    alone = shutil.copy(run.checkpoints / CHECKPOINT, root / "alone.safetensors")
    assert pmsi("runs", "check", alone, "--json")[1].partition(",")[2] == out.partition(",")[2]

    # Evaluation, maps and a sweep
    for config in (
        EvaluateConfig(of=run.id),
        MapsConfig(of=run.id, stages=("S5",), faithfulness_per_class=0, drift=()),
        RobustnessConfig(of=(run.id,), perturbations=("gaussian_noise=5",)),
    ):
        made, state = worked(root, run, config)
        if is_refused(then, now):
            assert state is State.FAILED
            require_words(made.status().error.message, then, now)
            continue
        assert state is State.FINISHED
        differs = made.result()["data"]
        assert ((differs[run.id] if isinstance(differs, dict) else differs) == []) == same_tested
        named(made, now)

    # Going on with a run that was stopped
    shutil.copytree(stopped.folder, root / stopped.id)
    resumed = Run(root / stopped.id)
    state = tasks.execute(resumed)
    assert (state is State.FINISHED) == (now == then)
    if state is State.FAILED:
        require_truth(resumed.status().error.message, then, now)


def named(made, now):
    """Check the names in what a run about the folder wrote against the folder itself."""
    if isinstance(made.config, EvaluateConfig):
        answers = read_predictions(made)
        found = {answer.key: answers.classes[answer.label] for answer in predictions_of(answers, answers.primary)}
        assert list(made.result()["class_accuracy"]) == list(now.names)
    elif isinstance(made.config, MapsConfig):
        stored = read_json(made.folder / LOOKS)
        found = {look["key"]: stored["classes"][look["label"]] for look in stored["looks"]}
    else:
        report = read_results(made).report
        found = {key: report["classes"][label] for key, label in zip(report["keys"], report["labels"], strict=True)}
    assert found == {key: name for key, (_, name) in now.test.items()}


@pytest.mark.parametrize(
    "changed",
    [(change,) for change in CHANGES if change not in (remove_class, add_images)],
    indirect=True,
    ids=lambda changes: changes[0].__name__,
)
def test_only_what_can_be_compared_stands_together(changed):
    """A second run is trained on the folder as it is now: with the first it shares a cell, or a sweep, or does not."""
    then, now, run, _, root = changed
    again, state = worked(root, run, run.config.with_(seed=1))
    first = Run(root / run.id)
    assert state is State.FINISHED
    comparable = set(now.names) == set(then.names) and now.tested == then.tested
    reasons = why_not_comparable(first, again)
    assert (reasons == []) == comparable
    config = RobustnessConfig(of=(first.id, again.id))
    if comparable:
        tasks.check(config, root)
    else:
        with pytest.raises(PMSIError) as refused:
            tasks.check(config, root)
        assert all(reason in str(refused.value) for reason in reasons)
        with contextlib.nullcontext() if now.names == then.names else pytest.raises(PMSIError):
            tasks.check(config.with_(insist=True), root)
    filled = fill(expand("3", run.config), root, (0, 1))
    runs = [entry.run for entry in filled.cells["baseline", "concat"].entries]
    together = comparable and now.trained == then.trained
    assert runs == [first.id if together else None, again.id]
    assert len(filled.left_out) == (not together)
    (images,) = filled.images
    assert (images.classes, images.train, images.test) == (len(now.names), len(now.train), len(now.test))


def test_a_model_that_was_trained_on_the_test_images_is_no_start_unless_one_insists(lab, monkeypatch, tmp_path):
    root, then, run, _ = lab
    monkeypatch.setenv("PMSI_CACHE", str(root / "cache"))
    shutil.copytree(run.folder, tmp_path / run.id)
    config = run.config.with_(split_seed=3, start_from=run.id)
    count = leaked(then, Seen.of(config))
    assert count
    with pytest.raises(PMSIError, match=f"{count} of {len(Seen.of(config).test)} test images"):
        tasks.check(config, tmp_path)
    made, state = worked(tmp_path, run, config)
    assert state is State.FAILED
    assert f"{count} of {len(Seen.of(config).test)} test images" in made.status().error.message
    tasks.check(config.with_(insist=True), tmp_path)
    made, state = worked(tmp_path, run, config.with_(insist=True))
    assert state is State.FINISHED
    assert any(f"{count} of" in line for line in made.result()["data"])
    fair, _ = worked(tmp_path, run, config.with_(start_from=None))
    assert str(count) in " ".join(why_not_comparable(fair, made))


def test_insisting_is_said_in_the_result_and_on_stderr(lab, monkeypatch, tmp_path, pmsi):
    """The folder is read with another split: the images that the model was trained on are counted, then tested."""
    root, then, run, _ = lab
    monkeypatch.setenv("PMSI_CACHE", str(root / "cache"))
    shutil.copytree(run.folder, tmp_path / run.id)
    other = Seen.of(run.config.with_(split_seed=3))
    monkeypatch.setattr(
        "pmsi.evaluation.open_dataset", lambda config, progress: open_dataset(config.with_(split_seed=3))
    )
    count = leaked(then, other)
    status, _, said = pmsi("evaluate", run.id, "--runs", tmp_path)
    assert status == 1
    assert f"{count} of {len(other.test)} test images" in said
    status, _, said = pmsi("evaluate", run.id, "--insist", "--runs", tmp_path)
    assert status == 0
    assert f"{count} of {len(other.test)} test images" in said
