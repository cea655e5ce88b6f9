"""The numbers of one map, its mosaics, and `pmsi explain --figure`."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pmsi.config import TrainConfig
from pmsi.data.plumage import plumage
from pmsi.explain.measures.baselines import enlarged
from pmsi.explain.measures.deletion import removal_curves
from pmsi.explain.measures.pointing import region_scores, summary
from pmsi.explain.measures.regions import cropped_mask, known_regions
from pmsi.pictures.phases import phase_mosaic, recursions_of_stages


class Texture(torch.nn.Module):
    """Two classes; the first one's logit says how much neighbours differ in the image's upper left quarter."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, images):
        quarter = images[:, 1, :32, :32]
        logit = self.weight * ((quarter[:, :, 1:] - quarter[:, :, :-1]).abs().mean(dim=(1, 2)) - 2)
        return {"only": torch.stack([logit, -logit], dim=1)}


def test_the_numbers_of_a_map_stand_beside_those_of_maps_that_know_nothing():
    region = np.zeros((16, 16), dtype=bool)
    region[:8, :8] = True
    values = np.zeros((4, 4), dtype=np.float32)
    values[0, 0] = 1.0
    pixels = np.zeros((16, 16, 3), dtype=np.uint8)
    pixels[:, 12:] = 255  # one edge, outside of the region
    found = region_scores(values, pixels, region, tolerance=0.0, key="a")
    assert found["map"].pointing == 1.0
    assert found["map"].energy == pytest.approx(1.0)
    assert (found["edges"].pointing, found["edges"].energy) == (0.0, 0.0)
    assert found["centre"].energy == pytest.approx(1 / 4)
    assert 0.1 < found["random"].energy < 0.4
    assert 0 < found["random"].pointing < 1
    assert found == region_scores(values, pixels, region, tolerance=0.0, key="a")
    assert found["random"] != region_scores(values, pixels, region, tolerance=0.0, key="b")["random"]
    far = region_scores(values, pixels, np.roll(region, 8, axis=1), tolerance=9.0, key="a")
    assert far["map"].pointing == 1.0, "a peak that is near enough is a hit"


def test_a_summary_says_where_a_map_peaks():
    values = np.zeros((2, 4), dtype=np.float32)
    values[1, 2] = 3.0
    told = summary(values)
    assert (told.shape, told.least, told.peak, told.at) == ((2, 4), 0.0, 3.0, (2.5 / 4, 1.5 / 2))
    assert told.mean == pytest.approx(3 / 8)
    assert summary(values[:1]).at is None


def test_the_regions_of_a_drawing_are_its_parts_and_those_that_tell_it_from_the_likeliest_sibling():
    birds, config = plumage(), TrainConfig(dataset="plumage", image_size=64)
    sample = birds.find("test/ochre_finchling/0000")
    masks = {name: cropped_mask(mask, config.resize_to, 64) for name, mask in birds.open_parts(sample).items()}
    telling = set()
    for likeliest in range(len(birds.classes)):
        found = known_regions(birds, sample, config, np.eye(len(birds.classes))[likeliest])
        assert np.array_equal(found["object"], np.any(list(masks.values()), axis=0))
        assert {name for name in found if name not in ("object", "telling")} == {
            name for name, mask in masks.items() if mask.any() and name != "bird"
        }
        assert all(np.array_equal(found[name], masks[name]) for name in found if name in masks)
        telling.add(found["telling"].tobytes())
    assert len(telling) > 1, "which parts tell depends on the sibling"
    assert list(known_regions(birds, sample, config))[:2] == ["object", "telling"]


def test_enlarging_is_torchs_bilinear():
    values = np.random.default_rng(0).random((3, 3)).astype(np.float32)
    expected = torch.nn.functional.interpolate(torch.from_numpy(values)[None, None], (12, 12), mode="bilinear")
    assert np.allclose(enlarged(values, 12), expected[0, 0].numpy())


def test_a_map_that_names_the_right_pixels_beats_a_random_one():
    pixels = np.zeros((64, 64, 3), dtype=np.uint8)
    pixels[::2, ::2] = pixels[1::2, 1::2] = 255
    values = np.zeros((2, 2), dtype=np.float32)
    values[0, 0] = 1.0
    curves = removal_curves(Texture(), pixels, values, head="only", label=0, key="a")
    assert curves["deletion"]["map"].area < curves["deletion"]["random"].area
    assert curves["insertion"]["map"].area > curves["insertion"]["random"].area
    clean = curves["deletion"]["map"].probability[0]
    assert clean == pytest.approx(curves["insertion"]["random"].probability[-1], abs=1e-6)


def test_the_mosaic_of_a_phase_has_the_patches_of_its_recursions():
    config = TrainConfig(dataset="plumage", method="pmr", image_size=64)
    assert recursions_of_stages(config) == {"S3": 3, "S4": 2, "S5": 1, "concat": 0}
    pixels = np.arange(64 * 64 * 3, dtype=np.uint32).reshape(64, 64, 3) % 251
    picture = Image.fromarray(pixels.astype(np.uint8))
    for stage, patch in (("S3", 8), ("S4", 16), ("S5", 32)):
        cut = np.asarray(phase_mosaic(picture, config, stage, seed=1, key="a"))
        assert not np.array_equal(cut, np.asarray(picture))
        blocks, original = (
            {a[y : y + patch, x : x + patch].tobytes() for y in range(0, 64, patch) for x in range(0, 64, patch)}
            for a in (cut, np.asarray(picture))
        )
        assert blocks == original
    assert phase_mosaic(picture, config, "concat", seed=1, key="a") is None
    assert phase_mosaic(picture, config.with_(method="baseline"), "S5", seed=1, key="a") is None


@pytest.fixture
def runs(tiny_config, tmp_path):
    """Two runs whose models were never trained."""
    from pmsi.data.plumage.species import SPECIES
    from pmsi.engine.checkpoint import CHECKPOINT, save_checkpoint
    from pmsi.methods import build
    from pmsi.runs import Run

    made = []
    for method in ("pmr", "baseline"):
        config = tiny_config.with_(method=method)
        run, model = Run.create(tmp_path / "runs", config), build(config, len(SPECIES))
        about = {"epoch": 1, "step": 0, "config": config.to_dict(), "classes": [species.name for species in SPECIES]}
        save_checkpoint(run.checkpoints / CHECKPOINT, model, torch.optim.SGD(model.parameters(), lr=0.1), about)
        made.append(run)
    return made


def test_a_figure_of_runs_and_pictures_is_written(pmsi, runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        Image.new("RGB", (80, 70), "olive").save(f"{name}.png")
    words = ["explain", runs[0].id, "one.png", "two.png", "--beside", runs[1].id, "--runs", tmp_path / "runs"]
    assert pmsi(*words, "--figure", "new/fig.svg", "--method", "layercam") == (0, "new/fig.svg\n", "")
    text = Path("new/fig.svg").read_text()
    assert all(word in text for word in (">one<", ">two<", f"pmr · {runs[0].id[-4:]}", "baseline", "LayerCAM"))
    assert text.count("<image") == 2 * 7 + 1
    status, _, said = pmsi(*words, "--figure", "fig.png", "--scale", "all", "--method", "fem")
    assert status == 0
    assert said.count(" s an image") == 2, "a line for each run, as this method is the package's"
    assert Image.open(io.BytesIO(Path("fig.png").read_bytes())).width > 2000


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "--figure FILE"),
        (["--figure", "x.doc"], ".png, .svg, .pdf"),
        (["--figure", "x.png", "--scale", "batch"], "map, image, all"),
        (["--figure", "x.png", "--method", "cam"], "gradcam"),
        (["--out", "maps", "--beside", "RUN"], "--out takes one picture"),
    ],
)
def test_a_figure_that_cannot_be_says_why(pmsi, runs, tmp_path, words, reason):
    Image.new("RGB", (80, 70)).save(tmp_path / "a.png")
    words = [runs[1].id if word == "RUN" else word for word in words]
    status, _, errors = pmsi("explain", runs[0].id, tmp_path / "a.png", "--runs", tmp_path / "runs", *words)
    assert status == 2
    assert reason in errors
    assert not (tmp_path / "x.png").exists()
