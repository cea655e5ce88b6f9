"""The mosaic page: four pictures of any image, closer looks, the rule with its numbers, and code that repeats it."""

import base64
import io
import json
import shlex

import numpy as np
import pytest
from pages import class_folders, click, fine, kept, links, png, words
from PIL import Image

from app.shared.cached_data import open_builtin
from app.shared.panels import Picked
from app.shared.wording import name_of_run
from app.views.mosaic.code import command_of, drawn, python_of
from app.views.mosaic.receptive_fields import position
from app.views.mosaic.strip import Chosen, allowed
from pmsi.data import open_dataset
from pmsi.pictures.mosaics import layouts, mosaic_strip
from pmsi.pictures.phases import batch_keys


def parts(test, key):
    """Return what the parts with this key that work in the browser were given."""
    found = [element.proto for element in test.get("bidi_component") if element.proto.id.endswith(f"-{key}")]
    return [json.loads(proto.json) for proto in found]


def test_a_sample_is_shown_in_four_depths_whose_numbers_are_the_packages_layouts(open_page):
    test = fine(open_page("mosaic"))
    (strip,) = parts(test, "strip")
    assert [name for name, _ in strip["captions"]] == [f"r = {r}" for r in range(4)]
    picture = Image.open(io.BytesIO(base64.b64decode(strip["image"].partition(",")[2])))
    assert picture.size == (448, 448)
    assert links(test)[-1].page == "train"
    for permutation in ("uniform", "cycle"):
        assert len(strip["layouts"][permutation]) == 1000
        for seed in (0, 11, 999):
            deepest = layouts(3, seed=seed, permutation=permutation)[-1]
            numbers = strip["layouts"][permutation][seed]
            assert [strip["orders"][permutation][number // 4] for number in numbers] == deepest.orders[0].tolist()
            assert [number % 4 for number in numbers] == deepest.picks[0].tolist()


def test_a_link_opens_the_same_image_layout_and_step(open_page):
    sample = open_builtin().test[-1]
    test = open_page("mosaic", image=sample.key, seed="11", permutation="cycle", borders="0", step="4")
    assert test.query_params["image"] == sample.key
    assert parts(test, "strip")[0]["start"] == {"seed": 11, "permutation": "cycle", "borders": False}
    assert parts(test, "steps")[0]["step"] == 4
    assert "--seed 11 --permutation cycle --no-borders" in test.code[-1].value
    assert parts(open_page("mosaic", seed="5000"), "strip")[0]["start"]["seed"] == Chosen.seed


@pytest.mark.parametrize(
    "said",
    [None, [], {}, {"seed": 1000}, {"seed": -1}, {"seed": "1"}, {"seed": 1.5}, {"permutation": "x"}, {"borders": 1}],
    ids=str,
)
def test_what_a_browser_makes_up_is_not_drawn(said):
    usual = {"seed": 1, "permutation": "uniform", "borders": True}
    assert allowed(usual) == Chosen(1, "uniform", True)
    assert allowed(usual | said if said else said) is None


def test_an_upload_is_shown_and_one_that_a_reload_has_lost_is_said_to_be_gone(open_page):
    test = open_page("mosaic", source="upload")
    assert not parts(test, "strip")
    test.session_state["uploads"] = {"ab": ("bird.png", Image.open(io.BytesIO(png())))}
    assert parts(fine(test.run()), "strip")[0]["title"] == "bird.png"
    gone = open_page("mosaic", source="upload", image="upload:ab")
    assert not parts(gone, "strip")
    assert "gone" in words(gone)


def test_the_image_of_a_folder_can_be_chosen_and_one_that_is_not_there_is_explained(open_page, tmp_path):
    home = str(class_folders(tmp_path / "birds", ("one", "two")))
    assert len(parts(open_page("mosaic", source="data", data=home, image="two/1.png"), "strip")) == 1
    test = open_page("mosaic", source="data", data=str(tmp_path / "nowhere"))
    assert "does not exist" in test.error[0].value


def test_the_rule_shows_the_papers_numbers(open_page):
    test = open_page("mosaic", look="fields", at="0.25,0.75", field="S4")
    assert "smallest patch 56 px" in words(test)
    assert "receptive field 59 px" in words(test)
    assert not test.warning
    (given,) = parts(test, "fields")
    fields = [("S1", 3, 0), ("S2", 19, 0), ("S3", 59, 56), ("S4", 267, 112), ("S5", 491, 224)]
    assert [(stage["name"], stage["field"], stage["patch"]) for stage in given["stages"]] == fields
    assert (given["at"], given["chosen"]) == ([0.25, 0.75], "S4")


def test_a_broken_rule_and_a_size_that_cannot_be_halved_are_told_apart(open_page):
    for size, said in (("512", ("S3", "464 px")), ("450", ("450 px", "448 px"))):
        (warning,) = open_page("mosaic", look="fields", size=size).warning
        assert all(word in warning.value for word in said)


def test_the_phases_of_a_batch_bear_their_heads_and_the_command_names_the_run_or_the_method(open_page, make_run):
    run = make_run(method="pmr")
    test = fine(open_page("mosaic", look="training", like=run.id, nth="2", place="3"))
    for phase, head in enumerate(("S3", "S4", "S5", "concat"), start=1):
        assert f"Phase {phase} · {head}" in words(test)
    assert "epoch 1, batch 2, 64 × 64 px" in words(test)
    assert test.code[-1].value == f"pmsi phases {run.id} --epoch 1 --batch 2 --out batch.png"
    test = open_page("mosaic", look="training", like="baseline", seed="5")
    expected = "pmsi phases --method baseline --seed 5 --dataset plumage --epoch 1 --batch 1 --out batch.png"
    assert test.code[-1].value == expected


def test_a_training_image_is_found_in_its_batch(open_page, make_run):
    run = make_run(method="baseline", train_per_class=None)
    key = open_builtin().train[5].key
    test = click(open_page("mosaic", look="training", like=run.id, image=key), "Find my image")
    batch, place = (int(kept(test, "number_input", name).value) for name in ("nth", "place"))
    assert batch_keys(run.config, open_dataset(run.config))[batch - 1][place - 1] == key


def test_other_augmentations_stand_beside_and_snapmix_says_whom_it_asks(open_page, make_run):
    test = fine(open_page("mosaic", look="beside"))
    for title in ("Partner", "RMG", "Jigsaw", "CutMix", "Mixup", "SnapMix"):
        assert f"<b>{title}" in words(test)
    assert "no model is trained yet" in test.caption[-1].value
    run = make_run(method="baseline")
    shown = fine(open_page("mosaic", look="beside", seed="11"))
    typed = shlex.split(shown.code[-1].value)
    assert typed[:5] == ["pmsi", "mosaic", "test/ochre_finchling/0000", "--dataset", "plumage"]
    asked = dict(zip(typed[5::2], typed[6::2], strict=True))
    assert asked.pop("--beside").startswith("train/")
    assert asked == {"--r": "2", "--seed": "11", "--run": run.id, "--out": "beside.png"}
    assert f"Grad-CAM of S5 of {name_of_run(run)}" in words(shown)


def test_a_position_that_is_none_is_the_middle():
    for text in ("", "0.5", "a,b", "2,0", "nan,0", "0.1,0.2,0.3"):
        assert position(text) == [0.5, 0.5]


# The same as code


@pytest.mark.parametrize(
    ("source", "permutation", "borders", "size"),
    [("sample", "uniform", True, 448), ("folder", "cycle", False, 64), ("upload", "cycle", True, 64)],
)
def test_the_code_and_the_command_make_the_picture_of_the_page(
    source, permutation, borders, size, tmp_path, monkeypatch, pmsi
):
    monkeypatch.chdir(tmp_path)
    picked = made(source, tmp_path)
    shown = drawn(picked, 7, permutation, borders, size)
    expected = np.asarray(mosaic_strip(picked.image, 3, seed=7, size=size, permutation=permutation, borders=borders))
    exec(python_of(shown, "by code.png"), {})
    assert np.array_equal(np.asarray(Image.open("by code.png")), expected)
    words = shlex.split(command_of(shown, "by command.png"))
    assert words.pop(0) == "pmsi"
    assert pmsi(*words)[0] == 0
    assert np.array_equal(np.asarray(Image.open("by command.png")), expected)


def made(source, folder):
    """Return an image as the picker gives it."""
    if source == "sample":
        data = open_builtin()
        return Picked(data.open_image(data.test[3]), data.test[3].key, "a bird", place="plumage")
    noise = Image.fromarray(np.random.default_rng(2).integers(0, 255, (90, 70, 3), dtype=np.uint8))
    if source == "upload":
        noise.save(folder / "it's a bird.png")
        return Picked(noise, "upload:0", "it's a bird.png")
    home = class_folders(folder / "my birds", ("one", "two"))
    noise.save(home / "one" / "2.png")
    return Picked(noise, "one/2.png", "one, image 3", place=str(home))
