"""The figure of maps for print: where things stand, what the colours mean, and what its files hold."""

import base64
import io
import re
import xml.etree.ElementTree as ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib.textpath import TextPath
from PIL import Image

from pmsi.base.errors import ConfigError
from pmsi.pictures import figure as figures
from pmsi.pictures.figure import SIDE, WIDTH, Figure, MapCell, Row, cut, draw, note_of, stage_title, to_png, to_svg
from pmsi.pictures.overlays import overlay
from pmsi.pictures.sheets import enlarged

STAGES = ("S3", "S4", "S5")
SVG, LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
MM = 25.4


def sight(seed=0, region=None):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (16, 16, 3)).astype(np.uint8)
    maps = {stage: rng.random((side, side)).astype(np.float32) for stage, side in zip(STAGES, (8, 4, 2), strict=True)}
    return MapCell(Image.fromarray(pixels), maps, f"says {seed}", region)


def figure(models=2, images=3, **about):
    rows = tuple(Row(f"bird {i}", tuple(sight(10 * i + j) for j in range(models))) for i in range(images))
    return Figure(tuple(f"model {j}" for j in range(models)), rows, **about)


def places(canvas):
    """The pictures of a page as (left, top, right, bottom) in mm, the colour bar last."""
    found = []
    for shown in canvas.axes[0].images:
        left, right, bottom, top = shown.get_extent()
        found.append((left, top, right, bottom))
    return found


def texts(canvas):
    return [text.get_text() for text in canvas.axes[0].texts]


@pytest.mark.parametrize("models", [1, 3])
def test_pictures_lie_in_rows_and_columns_on_the_page_and_never_on_each_other(models):
    canvas = draw(figure(models))
    width, height = canvas.get_size_inches() * MM
    boxes = places(canvas)
    pictures = boxes[:-1]
    assert len(pictures) == 3 * (1 + 3 * models)
    assert len({round(top, 6) for _, top, _, _ in pictures}) == 3
    assert len({round(left, 6) for left, _, _, _ in pictures}) == 1 + 3 * models
    sides = [round(side, 6) for left, top, right, bottom in pictures for side in (right - left, bottom - top)]
    assert len(set(sides)) == 1
    for i, (left, top, right, bottom) in enumerate(boxes):
        assert 0 <= left < right <= width + 1e-6
        assert 0 <= top < bottom <= height + 1e-6
        for other in boxes[:i]:
            assert left >= other[2] or other[0] >= right or top >= other[3] or other[1] >= bottom
    assert width <= WIDTH + 1e-6


def test_rows_are_images_and_columns_are_stages_by_model():
    shown = figure(2, scale="all", strength=1.0, note="how it was made")
    canvas = draw(shown)
    assert [stage_title(stage) for stage in STAGES] == ["S3 (N − 2)", "S4 (N − 1)", "S5 (N)"]
    for text in ("Image", "model 0", "model 1", "S3 (N − 2)", "bird 2", "says 21", "how it was made"):
        assert text in texts(canvas)
    assert f"peak {shown.rows[1].cells[0].maps['S4'].max():.3g}" in texts(canvas)
    boxes = places(canvas)
    order = sorted(range(len(boxes) - 1), key=lambda n: (round(boxes[n][1], 3), boxes[n][0]))
    top = max(values.max() for row in shown.rows for one in row.cells for values in one.maps.values())
    found = np.asarray(canvas.axes[0].images[order[7 + 6]].get_array())
    seen = shown.rows[1].cells[1]
    expected = overlay(enlarged(seen.picture, len(found)), seen.maps["S5"], top, 1.0)
    assert np.array_equal(found, np.asarray(expected))
    assert note_of("Grad-CAM", "Ochre Finchling", "S4", "map").startswith("Grad-CAM of Ochre Finchling at output S4;")


def test_what_cannot_be_a_figure_is_refused():
    with pytest.raises(ConfigError, match="at least one image"):
        draw(Figure(("a",), ()))
    with pytest.raises(ConfigError, match="cell for each"):
        draw(Figure(("a", "b"), (Row("x", (sight(),)),)))
    with pytest.raises(ConfigError, match="Show fewer models"):
        draw(figure(5))


@pytest.mark.parametrize("letter", ["i", "W"])
def test_a_long_text_is_cut_to_the_room_that_its_letters_take(letter):
    assert cut("short", 50.0, 8.0) == "short"
    found = cut(letter * 200, 20.0, 8.0)
    assert found.endswith("…")
    assert 17.0 < TextPath((0, 0), found, size=8.0, usetex=False).get_extents().width / 72 * MM <= 20.0


@pytest.mark.parametrize("ending", figures.FORMATS)
def test_the_same_figure_gives_the_same_bytes_without_a_date_and_leaves_matplotlibs_state_alone(ending):
    before, shown = dict(matplotlib.rcParams), Figure(("a",), (Row("b", (sight(),)),))
    first, second = (figures.FORMATS[ending](shown) for _ in range(2))
    assert first == second
    assert not re.search(rb"CreationDate|<dc:date>", first)
    assert first.startswith({".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[ending])
    assert dict(matplotlib.rcParams) == before


def test_a_png_is_of_print_size_and_shows_each_picture_at_its_place():
    shown = figure(1, 1)
    canvas, paper = draw(shown), Image.open(io.BytesIO(to_png(shown)))
    assert paper.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    assert paper.size == pytest.approx(canvas.get_size_inches() * 300, abs=1)
    half = Image.open(io.BytesIO(to_png(shown, dpi=150)))
    assert half.width == pytest.approx(paper.width / 2, abs=1)
    for (left, top, right, bottom), drawn in zip(places(canvas), canvas.axes[0].images, strict=True):
        box = [round(value / MM * 300) for value in (left, top, right, bottom)]
        part = paper.convert("RGB").crop(box)
        expected = Image.fromarray(np.asarray(drawn.get_array())).resize(part.size, Image.Resampling.LANCZOS)
        inner = (slice(6, -6), slice(6, -6))
        difference = np.abs(np.asarray(part, dtype=int)[inner] - np.asarray(expected, dtype=int)[inner])
        assert difference.mean() < 3


def test_an_svg_has_words_as_text_and_its_pictures_apart():
    region = np.zeros((16, 16), dtype=bool)
    region[4:8, 4:8] = True
    shown = Figure(("a < b $x$",), (Row("R & D", (sight(3, region),)),))
    root = ElementTree.fromstring(to_svg(shown))
    words = [element.text for element in root.iter(f"{SVG}text")]
    assert {"a < b $x$", "R & D", "says 3"} <= set(words), "no letter is read as mathematics"
    images = list(root.iter(f"{SVG}image"))
    assert len(images) == 1 + 3 + 1
    data = images[0].get(f"{LINK}href").removeprefix("data:image/png;base64,")
    photo = Image.open(io.BytesIO(base64.b64decode(data)))
    if "scale(1 -1)" in images[0].get("transform", ""):
        photo = photo.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    expected = np.asarray(shown.rows[0].cells[0].picture.resize(photo.size, Image.Resampling.BICUBIC), dtype=int)
    assert np.abs(np.asarray(photo.convert("RGB"), dtype=int) - expected).mean() < 6
    assert photo.width == pytest.approx(SIDE / MM * 300, abs=2)


def test_an_outline_lies_on_the_image_and_on_each_map():
    region = np.zeros((16, 16), dtype=bool)
    region[4:8, 4:8] = True
    canvas = draw(Figure(("a",), (Row("b", (sight(3, region),)),)))
    outlines = canvas.axes[0].collections
    assert len(outlines) == 2 * 4  # dark and light, on the image and on three maps
    left, top, right, _ = places(canvas)[0]
    quarter = (right - left) / 4
    points = np.concatenate([path.vertices for path in outlines[0].get_paths()])
    assert points.min(axis=0) == pytest.approx([left + quarter, top + quarter])
    assert points.max(axis=0) == pytest.approx([left + 2 * quarter, top + 2 * quarter])
