"""The mosaic page: four pictures of any image, closer looks, the rule with its numbers, and code that repeats it."""

import base64
import io
import json
import shlex

import numpy as np
import pytest
from PIL import Image

from app.shared.panels import Picked
from app.views.mosaic.code import command_of, drawn, python_of
from app.views.mosaic.receptive_fields import position
from app.views.mosaic.strip import Chosen, allowed


def value_of(test, kind, name):
    return getattr(test, kind)(key=f"kept-{name}").value


def strips(test):
    """Return what the strip was given, or nothing where there is none."""
    found = [element for element in test.get("bidi_component") if element.proto.id.endswith("-strip")]
    return [json.loads(element.proto.json) for element in found]


def texts(test):
    return " ".join(element.value for element in test.html)


def test_a_sample_is_shown_in_four_depths_without_any_click(open_page):
    test = open_page("mosaic")
    assert not test.exception
    assert not test.error
    (strip,) = strips(test)
    assert [name for name, _ in strip["captions"]] == [f"r = {r}" for r in range(4)]
    picture = Image.open(io.BytesIO(base64.b64decode(strip["image"].partition(",")[2])))
    assert picture.size == (448, 448)


def test_the_first_page_leads_on_to_training(open_page):
    link = open_page("mosaic").get("page_link")[0]
    assert link.proto.page == "train"
    assert link.proto.label.startswith("Next")


@pytest.mark.parametrize("permutation", ["uniform", "cycle"])
def test_the_numbers_of_the_browser_are_the_layouts_of_the_package(open_page, permutation):
    from pmsi.pictures.mosaics import layouts

    (strip,) = strips(open_page("mosaic"))
    assert len(strip["layouts"][permutation]) == 1000
    for seed in (0, 11, 999):
        deepest = layouts(3, seed=seed, permutation=permutation)[-1]
        numbers = strip["layouts"][permutation][seed]
        assert [strip["orders"][permutation][number // 4] for number in numbers] == deepest.orders[0].tolist()
        assert [number % 4 for number in numbers] == deepest.picks[0].tolist()


def test_a_link_opens_the_same_image_and_layout(open_page):
    from app.shared.cached_data import open_builtin

    sample = open_builtin().test[-1]
    test = open_page("mosaic", image=sample.key, seed="11", permutation="cycle", borders="0")
    assert not test.exception
    assert test.selectbox(key="picker-image").value == sample.key
    assert strips(test)[0]["start"] == {"seed": 11, "permutation": "cycle", "borders": False}
    assert "--seed 11 --permutation cycle --no-borders" in test.code[-1].value


@pytest.mark.parametrize(
    "said",
    [None, [], {}, {"seed": 1000}, {"seed": -1}, {"seed": "1"}, {"seed": 1.5}, {"permutation": "x"}, {"borders": 1}],
    ids=str,
)
def test_what_a_browser_makes_up_is_not_drawn(said):
    usual = {"seed": 1, "permutation": "uniform", "borders": True}
    assert allowed(usual) == Chosen(1, "uniform", True)
    assert allowed(usual | said if said else said) is None


def test_a_layout_that_does_not_exist_is_the_first_one(open_page):
    assert strips(open_page("mosaic", seed="5000"))[0]["start"]["seed"] == Chosen.seed


def test_an_upload_is_shown_and_a_broken_one_refused_with_a_reason(open_page):
    file = io.BytesIO()
    Image.fromarray(np.zeros((50, 80, 3), dtype=np.uint8)).save(file, "PNG")
    test = open_page("mosaic", source="upload")
    assert not strips(test)
    test.file_uploader(key="picker-upload").set_value(("bird.png", file.getvalue(), "image/png")).run()
    assert len(strips(test)) == 1
    assert not test.error
    test.file_uploader(key="picker-upload").set_value(("bird.png", b"no image at all", "image/png")).run()
    assert not test.exception
    assert "not an image" in test.error[0].value


def test_the_image_of_a_folder_can_be_chosen(open_page, tmp_path):
    for name in ("one", "two"):
        (tmp_path / "birds" / name).mkdir(parents=True)
        for i in range(4):
            Image.new("RGB", (40, 30), (20 * i, 90, 90)).save(tmp_path / "birds" / name / f"{i}.jpg")
    test = open_page("mosaic", source="data", data=str(tmp_path / "birds"))
    assert not test.exception
    assert test.selectbox(key="picker-class").options == ["one", "two"]
    assert len(strips(test)) == 1


def test_a_folder_that_is_not_there_is_explained(open_page, runs_folder):
    test = open_page("mosaic", source="data", data=str(runs_folder / "nowhere"))
    assert not test.exception
    assert "does not exist" in test.error[0].value


def test_the_rule_shows_the_papers_numbers(open_page):
    test = open_page("mosaic", look="fields")
    assert "smallest patch 56 px" in texts(test)
    assert "receptive field 59 px" in texts(test)
    assert not test.warning


def test_a_broken_rule_and_a_size_that_cannot_be_halved_are_told_apart(open_page):
    test = open_page("mosaic", look="fields", size="512")
    assert [warning.value for warning in test.warning] == [
        "The rule is broken for S3: the smallest patch is not smaller than the receptive field. It holds up to 464 px."
    ]
    test = open_page("mosaic", look="fields", size="450")
    assert [warning.value for warning in test.warning] == [
        "450 px cannot be cut in half 3 times. The nearest size that works is 448 px."
    ]


def test_the_rule_is_stated_for_a_network_of_timm_too(open_page):
    test = open_page("mosaic", look="fields", backbone="timm:mobilenetv2_100")
    assert not test.exception
    assert not test.error
    assert "receptive field 267 px" in texts(test)
    assert value_of(test, "selectbox", "backbone") == "timm:mobilenetv2_100"


def test_a_receptive_field_that_nobody_knows_is_not_made_up(open_page):
    test = open_page("mosaic", look="fields", backbone="timm:mobilenetv4_hybrid_medium")
    assert not test.error
    assert "receptive field" not in texts(test)
    assert "S4 and S5" in test.info[0].value


def test_a_network_that_does_not_exist_is_named(open_page):
    test = open_page("mosaic", look="fields", backbone="timm:mobilenetv9")
    assert not test.exception
    assert "mobilenetv9" in test.error[0].value


def part(test, key):
    """Return what a part that works in the browser was given."""
    (found,) = (element for element in test.get("bidi_component") if element.proto.id.endswith(f"-{key}"))
    return json.loads(found.proto.json)


def test_a_link_opens_a_step(open_page):
    assert part(open_page("mosaic", step="4"), "steps")["step"] == 4


def test_the_phases_of_a_batch_bear_their_heads(open_page, tiny_config, make_run):
    run = make_run(method="pmr")
    test = open_page("mosaic", look="training", like=run.id, nth="2", place="3")
    assert not test.error
    for phase, head in enumerate(("S3", "S4", "S5", "concat"), start=1):
        assert f"Phase {phase} · {head}" in texts(test)
    assert "epoch 1, batch 2, 64 × 64 px" in test.caption[-1].value.replace("\\", "")


def test_the_command_below_a_batch_names_the_run_or_the_method(open_page, make_run):
    run = make_run(method="pmr")
    test = open_page("mosaic", look="training", like=run.id, nth="2")
    assert test.code[-1].value == f"pmsi phases {run.id} --epoch 1 --batch 2 --out batch.png"
    test = open_page("mosaic", look="training", like="baseline", seed="5")
    expected = "pmsi phases --method baseline --seed 5 --dataset plumage --epoch 1 --batch 1 --out batch.png"
    assert test.code[-1].value == expected


def test_a_training_image_is_found_in_its_batch(open_page, make_run):
    from app.shared.cached_data import open_builtin
    from pmsi.data import open_dataset
    from pmsi.pictures.phases import batch_keys

    run = make_run(method="baseline", train_per_class=None)
    key = open_builtin().train[5].key
    test = open_page("mosaic", look="training", like=run.id, image=key)
    next(button for button in test.button if button.label == "Find my image").click().run()
    batch, place = int(value_of(test, "number_input", "nth")), int(value_of(test, "number_input", "place"))
    assert batch_keys(run.config, open_dataset(run.config))[batch - 1][place - 1] == key


def test_other_augmentations_stand_beside_and_snapmix_says_whom_it_asks(open_page, make_run):
    test = open_page("mosaic", look="beside")
    assert not test.error
    for title in ("Partner", "RMG", "Jigsaw", "CutMix", "Mixup", "SnapMix"):
        assert f"<b>{title}" in texts(test)
    assert "no model is trained yet" in test.caption[-1].value
    run = make_run(method="baseline")
    shown = open_page("mosaic", look="beside", seed="11")
    assert not shown.error
    words = shlex.split(shown.code[-1].value)
    assert words[:5] == ["pmsi", "mosaic", "test/ochre_finchling/0000", "--dataset", "plumage"]
    asked = dict(zip(words[5::2], words[6::2], strict=True))
    assert asked.pop("--beside").startswith("train/")
    assert asked == {"--r": "2", "--seed": "11", "--run": run.id, "--out": "beside.png"}
    assert run.id in shown.caption[-1].value.replace("\\", "")


def test_fields_are_given_in_pixels_with_the_patches_of_their_phase(open_page):
    given = part(open_page("mosaic", look="fields", at="0.25,0.75", field="S4"), "fields")
    assert [(stage["name"], stage["field"], stage["patch"]) for stage in given["stages"]] == [
        ("S1", 3, 0),
        ("S2", 19, 0),
        ("S3", 59, 56),
        ("S4", 267, 112),
        ("S5", 491, 224),
    ]
    assert (given["at"], given["chosen"]) == ([0.25, 0.75], "S4")


@pytest.mark.parametrize("text", ["", "0.5", "a,b", "2,0", "nan,0", "0.1,0.2,0.3"])
def test_a_position_that_is_none_is_the_middle(text):
    assert position(text) == [0.5, 0.5]


# The same as code


@pytest.mark.parametrize(
    ("permutation", "borders", "size"), [("uniform", True, 448), ("cycle", False, 64)], ids=["usual", "changed"]
)
@pytest.mark.parametrize("source", ["sample", "folder", "upload"])
def test_the_code_and_the_command_make_the_picture_of_the_page(
    source, permutation, borders, size, tmp_path, monkeypatch, pmsi
):
    from app.shared.cached_data import open_builtin
    from pmsi.pictures.mosaics import mosaic_strip

    monkeypatch.chdir(tmp_path)
    picked = made(source, open_builtin, tmp_path)
    shown = drawn(picked, 7, permutation, borders, size)
    expected = np.asarray(mosaic_strip(picked.image, 3, seed=7, size=size, permutation=permutation, borders=borders))
    exec(python_of(shown, "by code.png"), {})
    assert np.array_equal(np.asarray(Image.open("by code.png")), expected)
    words = shlex.split(command_of(shown, "by command.png"))
    assert words.pop(0) == "pmsi"
    assert pmsi(*words)[0] == 0
    assert np.array_equal(np.asarray(Image.open("by command.png")), expected)


def made(source, open_builtin, folder):
    """Return an image as the picker gives it."""
    if source == "sample":
        data = open_builtin()
        return Picked(data.open_image(data.test[3]), data.test[3].key, "a bird", place="plumage")
    noise = Image.fromarray(np.random.default_rng(2).integers(0, 255, (90, 70, 3), dtype=np.uint8))
    if source == "upload":
        noise.save(folder / "it's a bird.png")
        return Picked(noise, "upload:0", "it's a bird.png")
    for name in ("one", "two"):
        (folder / "my birds" / name).mkdir(parents=True)
        for number in range(4):
            noise.save(folder / "my birds" / name / f"{number}.png")
    return Picked(noise, "one/2.png", "one, image 3", place=str(folder / "my birds"))
