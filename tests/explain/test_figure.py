"""The figure of maps for print: where things stand, what the colours mean, and that both formats show the same."""

import base64
import io
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from PIL import Image

from pmsi.base.errors import ConfigError, PMSIError, UnknownName
from pmsi.explain.figure import WIDTH, Figure, Inset, Row, Sight, Words, ceilings, cut, laid_out, note_of, stage_title
from pmsi.explain.motion import strip, to_gif
from pmsi.explain.outlines import borders, outlined
from pmsi.explain.overlay import overlay
from pmsi.explain.printing import to_png, to_svg

STAGES = ("S3", "S4", "S5")
SVG = "{http://www.w3.org/2000/svg}"


def sight(seed=0, region=None):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (16, 16, 3)).astype(np.uint8)
    maps = {stage: rng.random((side, side)).astype(np.float32) for stage, side in zip(STAGES, (8, 4, 2), strict=True)}
    return Sight(Image.fromarray(pixels), maps, f"says {seed}", region)


def figure(models=2, images=3, **about):
    rows = tuple(Row(f"bird {i}", tuple(sight(10 * i + j) for j in range(models))) for i in range(images))
    return Figure(tuple(f"model {j}" for j in range(models)), rows, **about)


def insets(page):
    return [thing for thing in page.things if isinstance(thing, Inset)]


def texts(page):
    return [thing.text for thing in page.things if isinstance(thing, Words)]


# The outline


@pytest.mark.parametrize("seed", range(5))
def test_an_outline_lies_between_pixels_that_differ(seed):
    region = np.random.default_rng(seed).random((5, 7)) < 0.5
    expected = set()
    for y in range(5):
        for x in range(7):
            for dy, dx, line in ((-1, 0, (x, y, x + 1, y)), (1, 0, (x, y + 1, x + 1, y + 1)),
                                 (0, -1, (x, y, x, y + 1)), (0, 1, (x + 1, y, x + 1, y + 1))):  # fmt: skip
                inside = 0 <= y + dy < 5 and 0 <= x + dx < 7 and region[y + dy, x + dx]
                if region[y, x] and not inside:
                    expected.add(line)
    found = set()
    for x0, y0, x1, y1 in borders(region):
        ends = [round(value) for value in (x0 * 7, y0 * 5, x1 * 7, y1 * 5)]
        assert ends[0] == ends[2] or ends[1] == ends[3]
        for x in range(ends[0], ends[2]):
            found.add((x, ends[1], x + 1, ends[1]))
        for y in range(ends[1], ends[3]):
            found.add((ends[0], y, ends[0], y + 1))
    assert found == expected


def test_a_box_has_four_lines_and_nothing_none():
    region = np.zeros((8, 8), dtype=bool)
    assert borders(region) == []
    region[2:6, 1:4] = True
    eighths = {tuple(round(8 * value) for value in line) for line in borders(region)}
    assert eighths == {(1, 2, 4, 2), (1, 6, 4, 6), (1, 2, 1, 6), (4, 2, 4, 6)}
    assert len(borders(region)) == 4
    with pytest.raises(PMSIError, match="expected"):
        borders(np.zeros(3, dtype=bool))


def test_an_outlined_picture_is_a_copy_that_differs_at_the_border_alone():
    picture, region = Image.new("RGB", (64, 64), "red"), np.zeros((8, 8), dtype=bool)
    region[2:6, 2:6] = True
    changed = (np.asarray(outlined(picture, region, 2)) != np.asarray(picture)).any(axis=2)
    assert changed[16, 32]
    assert changed[32, 47]
    assert not changed[32, 32]
    assert not changed[4, 4]
    assert not (np.asarray(outlined(picture, None)) != np.asarray(picture)).any()


# The scale of colours


@pytest.mark.parametrize("scale", ["map", "image", "all"])
def test_colours_end_at_the_peak_that_the_scale_names(scale):
    rng = np.random.default_rng(1)
    rows = [[{stage: rng.random((3, 3)) for stage in STAGES} for _ in range(2)] for _ in range(3)]
    found = ceilings(rows, scale)
    for (i, j, stage), top in found.items():
        shared = {
            "map": [rows[i][j][stage]],
            "image": list(rows[i][j].values()),
            "all": [values for row in rows for maps in row for values in maps.values()],
        }
        assert top == max(values.max() for values in shared[scale])
    assert len(found) == 18


def test_a_blank_map_stays_blank_and_unknown_scales_are_named():
    assert ceilings([[{"S3": np.zeros((2, 2))}]], "map") == {(0, 0, "S3"): 1.0}
    with pytest.raises(UnknownName, match="map, image, all"):
        ceilings([], "batch")
    assert note_of("Grad-CAM", "Ochre Finchling", "S4", "map").startswith("Grad-CAM of Ochre Finchling at output S4;")


# The page


@pytest.mark.parametrize("models", [1, 2, 3])
def test_pictures_lie_in_rows_and_columns_on_the_page_and_never_on_each_other(models):
    page = laid_out(figure(models))
    pictures = insets(page)[:-1]  # the last one is the colour bar
    assert len(pictures) == 3 * (1 + 3 * models)
    assert len({round(one.y, 6) for one in pictures}) == 3
    assert len({round(one.x, 6) for one in pictures}) == 1 + 3 * models
    assert len({round(one.width, 6) for one in pictures} | {round(one.height, 6) for one in pictures}) == 1
    for i, one in enumerate(insets(page)):
        assert one.x >= 0
        assert one.y >= 0
        assert one.x + one.width <= page.width
        assert one.y + one.height <= page.height
        for other in insets(page)[:i]:
            apart = one.x >= other.x + other.width or other.x >= one.x + one.width
            assert apart or one.y >= other.y + other.height or other.y >= one.y + one.height
    assert page.width <= WIDTH + 1e-9


def test_rows_are_images_and_columns_are_stages_by_model():
    shown = figure(2, scale="all", strength=1.0, note="how it was made")
    page = laid_out(shown)
    assert [stage_title(stage) for stage in STAGES] == ["S3 (N − 2)", "S4 (N − 1)", "S5 (N)"]
    for text in ("Image", "model 0", "model 1", "S3 (N − 2)", "bird 2", "says 21", "how it was made"):
        assert text in texts(page)
    assert f"peak {shown.rows[1].sights[0].maps['S4'].max():.3g}" in texts(page)
    pictures = sorted(insets(page)[:-1], key=lambda one: (one.y, one.x))
    top = max(values.max() for row in shown.rows for one in row.sights for values in one.maps.values())
    values = shown.rows[1].sights[1].maps["S5"]
    expected = overlay(pictures[7].picture, values / top, 1.0)  # at full strength the picture below does not matter
    assert np.array_equal(np.asarray(pictures[7 + 6].picture), np.asarray(expected))


def test_what_cannot_be_a_figure_is_refused():
    with pytest.raises(ConfigError, match="at least one image"):
        laid_out(Figure(("a",), ()))
    with pytest.raises(ConfigError, match="one sight for each"):
        laid_out(Figure(("a", "b"), (Row("x", (sight(),)),)))
    with pytest.raises(ConfigError, match="Show fewer models"):
        laid_out(figure(5))


def test_a_long_text_is_cut():
    assert cut("short", 50.0, 8.0) == "short"
    assert cut("x" * 200, 20.0, 8.0).endswith("…")
    assert len(cut("x" * 200, 20.0, 8.0)) < 20


# The formats


def test_a_png_is_of_print_size():
    page, picture = laid_out(figure(1, 1)), Image.open(io.BytesIO(to_png(figure(1, 1))))
    assert picture.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    assert picture.size == (round(page.width / 25.4 * 300), round(page.height / 25.4 * 300))
    half = Image.open(io.BytesIO(to_png(figure(1, 1), dpi=150)))
    assert half.width == pytest.approx(picture.width / 2, abs=1)


def test_a_png_shows_each_picture_at_its_place():
    shown = figure(1, 2)
    page, paper = laid_out(shown), Image.open(io.BytesIO(to_png(shown)))
    for inset in insets(page):
        box = [round(value / 25.4 * 300) for value in (inset.x, inset.y, inset.width, inset.height)]
        part = paper.crop((box[0], box[1], box[0] + box[2], box[1] + box[3]))
        expected = inset.picture.resize(part.size, Image.Resampling.LANCZOS)
        assert np.abs(np.asarray(part, dtype=int) - np.asarray(expected, dtype=int)).max() == 0


def test_an_svg_has_words_as_text_lines_as_paths_and_the_pictures_inside():
    region = np.zeros((16, 16), dtype=bool)
    region[4:8, 4:8] = True
    shown = Figure(("a < b",), (Row("R & D", (sight(3, region),)),))
    page, root = laid_out(shown), ElementTree.fromstring(to_svg(shown))
    assert [element.text for element in root.iter(f"{SVG}text")] == texts(page)
    assert "a < b" in texts(page)
    images = list(root.iter(f"{SVG}image"))
    for element, inset in zip(images, insets(page), strict=True):
        data = base64.b64decode(element.get("href").removeprefix("data:image/png;base64,"))
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), np.asarray(inset.picture))
        assert float(element.get("x")) == pytest.approx(inset.x, abs=1e-3)
    outline = [path.get("d") for path in root.iter(f"{SVG}path")][1:]
    assert len(outline) == 2 * 4  # dark and light, on the image and on three maps
    first = insets(page)[0]
    numbers = [float(word) for word in re.findall(r"[\d.]+", outline[0])]
    assert min(numbers[::2]) == pytest.approx(first.x + first.width / 4, abs=1e-3)
    assert max(numbers[::2]) == pytest.approx(first.x + first.width / 2, abs=1e-3)


# The animation


def test_a_gif_holds_all_frames_below_their_titles():
    frames = [
        strip([[Image.new("RGB", (20, 20), color)] * 4] * 2, f"σ = {i}") for i, color in enumerate(("red", "blue"))
    ]
    assert frames[0].size == (4 * 24 - 4, 22 + 2 * 24 - 4)
    animation = Image.open(io.BytesIO(to_gif(frames, 0.5)))
    assert animation.n_frames == 2
    assert (animation.info["duration"], animation.info["loop"]) == (500, 0)
    for i, color in enumerate(((255, 0, 0), (0, 0, 255))):
        animation.seek(i)
        assert np.abs(np.array(animation.convert("RGB").getpixel((10, 30))) - color).max() <= 8
    with pytest.raises(PMSIError):
        to_gif([])
