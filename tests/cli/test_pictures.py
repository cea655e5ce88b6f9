"""Mosaics, predictions and maps by the command line, against the package asked directly."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pmsi.augment.mosaic import Layout, apply, plan
from pmsi.base.seeding import derive
from pmsi.data.images import open_rgb
from pmsi.data.plumage import plumage
from pmsi.explain.measures.pointing import widened
from pmsi.explain.measures.regions import cropped_mask
from pmsi.perturbations import perturb
from pmsi.pictures.mosaics import mosaics, square
from pmsi.predictor import Predictor
from pmsi.runs.theatre import FILE, theatre_of

HEADS = ["S3", "S4", "S5", "concat", "mix"]


KEYS = "train/willow_leafling/0001", "train/gorget_crestjay/0002"


def picture(path):
    """The pixels of a picture file, (h, w) or (h, w, 3)."""
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.mark.parametrize("r", [0, 3])
def test_a_mosaic_is_exactly_g_of_the_picture_and_can_be_replayed(r, here, pmsi):
    words = ["mosaic", "a bird.png", "--r", r, "--seed", 7, "--size", 64, "--layout", "to/layout.json"]
    assert pmsi(*words, "--out", "to here/m.png") == (0, "to here/m.png\n", "")
    shown = picture("to here/m.png")
    seen = torch.from_numpy(np.array(square(open_rgb("a bird.png"), 64))).permute(2, 0, 1).unsqueeze(0)
    replayed = Layout.from_json(json.loads(Path("to/layout.json").read_text()))
    drawn = plan(1, r, generator=torch.Generator().manual_seed(derive("preview", 7)))
    for layout in (replayed, drawn):
        assert np.array_equal(shown, apply(seen, layout)[0].permute(1, 2, 0).numpy())
    pmsi(*words, "--out", "again.png")
    assert Path("again.png").read_bytes() == Path("to here/m.png").read_bytes()


def test_snapmix_asks_a_run_where_it_looks(trained, here, pmsi):
    words = ["mosaic", KEYS[0], "--dataset", "plumage", "--beside", KEYS[1], "--r", 1, "--size", 64, "--out", "x.png"]
    even = pmsi(*words)[1].splitlines()
    asked = pmsi(*words, "--run", trained.id, "--runs", trained.folder.parent)[1].splitlines()
    assert even[:-1] == asked[:-1]
    assert even[-1] != asked[-1]


def test_predictions_are_a_json_list_for_pictures_of_any_mode(trained, here, pmsi):
    modes = {"CMYK": "c.tif", "I;16": "i.png", "LA": "l.png", "P": "p.gif"}
    for mode, name in modes.items():
        Image.new(mode, (1, 3)).save(name)
        assert pmsi("mosaic", name, "--size", 64, "--out", "m.bmp")[0] == 0
    names = ["a bird.png", *modes.values()]
    status, out, _ = pmsi("predict", trained.id, *names, "--top", 2, "--runs", trained.folder.parent)
    answers = json.loads(out)
    assert (status, [answer["image"] for answer in answers]) == (0, names)
    for answer in answers:
        assert list(answer["heads"]) == HEADS
        assert all(len(guesses) == 2 for guesses in answer["heads"].values())
        assert answer["best"] == answer["heads"][answer["primary"]][0]
        assert answer["best"]["name"] == trained.result()["classes"][answer["best"]["label"]]


def test_an_explanation_is_pictures_and_numbers(trained, here, pmsi):
    name = trained.result()["classes"][4]
    words = ["--head", "S4", "--class", name, "--out", "my maps/x", "--runs", trained.folder.parent]
    status, out, _ = pmsi("explain", trained.id[:10], "a bird.png", *words)
    assert status == 0
    assert {path.name for path in Path("my maps/x").iterdir()} == {
        "image.png",
        "S3.png",
        "S4.png",
        "S5.png",
        "maps.json",
    }
    assert {picture(path).shape for path in Path("my maps/x").glob("*.png")} == {(64, 64, 3)}
    about = json.loads(Path("my maps/x/maps.json").read_text())
    assert [np.shape(about["maps"][stage]) for stage in ("S3", "S4", "S5")] == [(8, 8), (4, 4), (2, 2)]
    assert (about["run"], about["head"], about["class"]) == (trained.id, "S4", name)
    assert json.loads(out) == {key: value for key, value in about.items() if key not in ("maps", "scale")}


def test_a_region_is_outlined_over_every_map(trained, here, pmsi):
    words = ["explain", trained.id, KEYS[0], "--dataset", "plumage", "--runs", trained.folder.parent]
    assert pmsi(*words, "--out", "bare")[0] == 0
    assert pmsi(*words, "--out", "outlined", "--region", "bill")[0] == 0
    birds, config = plumage(), trained.config
    inside = cropped_mask(birds.open_parts(birds.find(KEYS[0]))["bill"], config.resize_to, config.image_size)
    near = widened(inside, 3.0)
    assert np.array_equal(picture("bare/image.png"), picture("outlined/image.png"))
    for stage in ("S3", "S4", "S5"):
        changed = (picture(f"bare/{stage}.png") != picture(f"outlined/{stage}.png")).any(axis=2)
        assert changed.any()
        assert not changed[~near].any()
    svgs = []
    for region in ([], ["--region", "bill"]):
        assert pmsi(*words, "--figure", "x.svg", *region)[0] == 0
        svgs.append(Path("x.svg").read_text())
    assert len(svgs[1]) > len(svgs[0])
    assert ">Willow Leafling<" in svgs[0]


def test_the_numbers_of_maps_are_told(trained, here, pmsi):
    words = ["explain", trained.id, KEYS[0], "--dataset", "plumage", "--runs", trained.folder.parent]
    status, out, _ = pmsi(*words, "--numbers", "--tolerance", 2, "--region", "wing")
    told, birds, config = json.loads(out)["numbers"], plumage(), trained.config
    assert (status, told["region"], told["tolerance"]) == (0, "wing", 2)
    assert {path.name for path in here.iterdir()} <= {"a bird.png", "text.jpg", "folder", "cache"}, "nothing is written"
    predictor, sample = Predictor.load(trained), birds.find(KEYS[0])
    mask = cropped_mask(birds.open_parts(sample)["wing"], config.resize_to, config.image_size)
    assert told["area"] == pytest.approx(mask.mean())
    maps = predictor.explain(predictor.prepare(birds.open_image(sample))).maps
    for stage, values in maps.items():
        large = torch.nn.functional.interpolate(torch.from_numpy(values)[None, None], (64, 64), mode="bilinear")
        large = large[0, 0].double().numpy()
        energy = large[mask].sum() / large.sum() if large.any() else mask.mean()
        assert told["stages"][stage]["sources"]["map"]["energy"] == pytest.approx(energy, abs=1e-5)
        assert told["stages"][stage]["peak"] == pytest.approx(values.max(), rel=1e-4)
        assert list(told["stages"][stage]["sources"]) == ["map", "random", "edges", "centre"]
    assert json.loads(pmsi(*words, "--numbers")[1])["numbers"]["region"] == "object"


def test_a_picture_is_explained_against_a_rival(trained, here, pmsi):
    words = ["explain", trained.id, KEYS[0], "--dataset", "plumage", "--runs", trained.folder.parent]
    classes = Predictor.load(trained).classes
    told = {
        rival: json.loads(pmsi(*words, "--numbers", "--class", classes[2], "--rival", rival)[1])
        for rival in ("likeliest", "similar", classes[0])
    }
    assert told[classes[0]]["rival"] == classes[0]
    assert {one["rival"] for one in told.values()} <= {*classes} - {classes[2]}
    alone = json.loads(pmsi(*words, "--numbers", "--class", classes[2])[1])
    assert (alone["rival"], alone["class"]) == (None, classes[2])
    assert alone["numbers"]["stages"]["S4"]["peak"] != told[classes[0]]["numbers"]["stages"]["S4"]["peak"]
    for rival, reason in ((classes[2], "other number"), ("the next", "likeliest, similar")):
        status, _, errors = pmsi(*words, "--numbers", "--class", classes[2], "--rival", rival)
        assert (status, reason in errors) == (2, True)


def test_removal_curves_start_at_the_prediction(trained, here, pmsi):
    words = ["explain", trained.id, "a bird.png", "--removal", "--out", "maps", "--runs", trained.folder.parent]
    status, out, _ = pmsi(*words)
    told, written = json.loads(out), json.loads(Path("maps/maps.json").read_text())
    for stage in ("S3", "S4", "S5"):
        for kind, end in (("deletion", 0), ("insertion", -1)):
            for source, curve in written["curves"][stage][kind].items():
                assert curve["probability"][end] == pytest.approx(told["predicted"]["probability"], abs=1e-4)
                area = np.trapezoid(curve["probability"], curve["shares"])
                assert told["areas"][stage][kind][source] == pytest.approx(area, abs=1e-6)
    assert (status, set(told) | {"maps", "scale", "curves"}) == (0, set(written))


def test_as_severity_rises_the_clean_images_class_is_explained(trained, here, pmsi, monkeypatch):
    explained, asked = Predictor.explain, []

    def explain(self, *words, **about):
        found = explained(self, *words, **about)
        asked.append((about["label"], about["head"], found.label))
        return found

    monkeypatch.setattr(Predictor, "explain", explain)
    words = ["a bird.png", "--head", "S4", "--rising", "c_fog", "--figure", "x.gif", "--runs", trained.folder.parent]
    assert pmsi("explain", trained.id, *words)[0] == 0
    (label, _, clean), *risen = asked
    assert label is None
    assert risen == [(clean, "S4", clean)] * 6


def test_a_network_is_shown_perturbed_images(trained, here, pmsi):
    where = ["--dataset", "plumage", "--runs", trained.folder.parent]
    steps = ["--perturb", "color_jitter=0.5", "gaussian_noise=20", "--seed", 3]
    status, out, _ = pmsi("explain", trained.id, KEYS[0], *steps, *where, "--out", "maps")
    birds, predictor = plumage(), Predictor.load(trained)
    seen = predictor.prepare(birds.open_image(birds.find(KEYS[0])))
    for name, severity in (("color_jitter", 0.5), ("gaussian_noise", 20)):
        seen, _ = perturb(seen, name, severity, seed=3, key=KEYS[0])
    assert (status, json.loads(out)["perturbed"]) == (0, ["color_jitter=0.5", "gaussian_noise=20"])
    assert np.array_equal(picture("maps/image.png"), np.asarray(seen))
    (answer,) = json.loads(pmsi("predict", trained.id, KEYS[0], *steps, *where)[1])
    assert answer["best"]["probability"] == pytest.approx(predictor.predict(seen).best.probability, abs=1e-6)


def test_the_stages_of_a_mosaic_are_told_with_their_channels_images_and_answers(trained, here, pmsi):
    words = ["stages", trained.id, "a bird.png", "--runs", trained.folder.parent, "--r", 2, "--channel", "S4:7", "s2:0"]
    status, said, _ = pmsi(*words, "--images", "--out", "to/folder")
    about, kept = json.loads(said), json.loads(Path("to/folder/stages.json").read_text())
    predictor = Predictor.load(trained)
    seen = mosaics(predictor.prepare(open_rgb("a bird.png")), 2, borders=False)[2]
    found = predictor.activations(seen)
    assert (status, list(about["channels"])) == (0, ["S4:7", "S2:0"])
    assert about["channels"]["S4:7"]["peak"] == pytest.approx(float(found.stages["S4"].values[7].max()), rel=1e-4)
    assert about["interaction"]["on"]["mix"]["name"] == predictor.predict(seen).best.name
    np.testing.assert_allclose(kept["m"]["S5"], found.interaction.m["S5"], rtol=1e-3, atol=1e-5)
    images = about["channels"]["S2:0"]["images"]
    assert [one["value"] for one in images] == sorted((one["value"] for one in images), reverse=True)
    assert len(images) == about["channels"]["S2:0"]["of"] == 12
    assert np.array_equal(picture("to/folder/image.png"), np.asarray(seen))
    assert pmsi(*words[:5], "--out", "sheet.png")[0] == 0
    assert picture("sheet.png").shape[0] > picture("to/folder/S4-7.png").shape[0]
    for wrong, reason in (("S4:80", "0 to 79"), ("S4", "S4:17"), ("S6:1", "S1, S2")):
        status, _, errors = pmsi(*words[:5], "--channel", wrong)
        assert (status, reason in errors) == (2, True), errors


def test_the_theatre_of_a_run_has_a_frame_for_each_moment(tiny_run, copied, here, pmsi):
    shutil.copytree(copied.folder, copied.folder.with_name("beside"))
    where = ["--runs", copied.folder.parent, "--out", "x.gif"]
    assert pmsi("theatre", copied.id, "--beside", "beside", *where)[0] == 0
    with Image.open("x.gif") as file:
        assert file.n_frames == len(theatre_of(tiny_run).moments)
        tile = np.asarray(file.convert("RGB").crop((4, 76, 100, 172)), dtype=int)
    expected = np.asarray(theatre_of(tiny_run).picture(0).resize((96, 96), Image.Resampling.LANCZOS), dtype=int)
    assert np.abs(tile - expected).mean() < 12, "256 colours are nearly the pixels"
    (copied.folder / FILE).unlink()
    status, _, said = pmsi("theatre", copied.id, *where)
    assert (status, "--no-theatre" in said) == (2, True)
