"""Ask it yourself: the Maps page's image with parts changed, and what each output then answers and looks at.

A drawn bird's parts are toggled between its own form and a sibling's; on any photo, rectangles are rubbed out or copied
elsewhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import streamlit as st
import torch
from PIL import Image

from app.shared.cached_models import predict_once
from app.shared.components import part
from app.shared.errors import plain
from app.shared.panels import Picked
from app.shared.session import remember, switch
from app.shared.wording import name_of_run
from app.views.maps.explained import SIDE, Rows, Seen, Wanted, pixels_of, seen
from app.views.maps.grid import show_grid
from pmsi.base.errors import ConfigError
from pmsi.data.plumage import Species, distinguishing_parts, redraw, siblings, species_of
from pmsi.data.plumage.drawing import OCCLUDERS, Change
from pmsi.data.plumage.scenery import SETTINGS
from pmsi.data.plumage.species import Marks
from pmsi.explain.measures.road import imputed
from pmsi.pictures.encoding import data_uri, jpeg
from pmsi.pictures.sheets import enlarged
from pmsi.predictor import Prediction

WAYS = {"bird": "Its parts", "patches": "Patches"}
OWN, SIBLING, WITHOUT = "own", "sibling", "without"
MOST_EDITS = 40
OTHERS = 9
"""Other poses and lights that a bird is offered."""


def ask(rows: Rows, wanted: Wanted) -> None:
    """Let the visitor change the first image, and show what every run then answers."""
    picked, sights = rows[0]
    own = None if picked.dataset is None or picked.sample is None else species_of(picked.dataset, picked.sample)
    way = "patches" if own is None else switch("ask", "bird", "Change", WAYS)
    if way == "bird" and own is not None:
        image, words = _bird(picked, own)
    else:
        image, words = _patches(picked, sights[0])
    changed = replace(picked, image=image, title=f"{picked.title}, changed", label=None, dataset=None, sample=None)
    after = [seen(one.run, changed, replace(wanted, mosaic="")) for one in sights]
    for before, now in zip(sights, after, strict=True):
        whose = f"{plain(name_of_run(now.run))}: " if len(after) > 1 else ""
        st.markdown(f"{whose}{_sentence(before, now, words)}")
    show_grid([(changed, after)], replace(wanted, mosaic="", outline=""), key="ask-grid")
    st.table(_answers(sights, after), hide_index=True, border="horizontal")
    if way == "bird" and own is not None:
        _single_changes(picked, own, sights)


def _sentence(before: Seen, now: Seen, words: str) -> str:
    """Say what the changed image is answered."""
    was, best = before.explanation.prediction.best, now.explanation.prediction.best
    said = f"**{plain(best.name)}** ({best.probability:.0%})"
    if not words:
        return f"It says {said}. Change something to ask."
    if was.name == best.name:
        return f"With {plain(words)} it still says {said}; before: {was.probability:.0%}."
    return f"With {plain(words)} it says {said}, no longer {plain(was.name)} ({was.probability:.0%})."


def _answers(sights: Sequence[Seen], after: Sequence[Seen]) -> list[dict[str, str]]:
    """Return a row for each output of each run: its answer before and after."""
    several, rows = len(sights) > 1, []
    for before, now in zip(sights, after, strict=True):
        pairs = (predict_once(one.run, one.picture) for one in (before, now))
        first, second = (_by_head(prediction) for prediction in pairs)
        for head, said in first.items():
            row = {"Run": name_of_run(now.run)} if several else {}
            rows.append(row | {"Output": head, "As it is": said, "Changed": second[head]})
    return rows


def _by_head(prediction: Prediction) -> dict[str, str]:
    return {head: f"{plain(best[0].name)} {best[0].probability:.0%}" for head, best in prediction.heads.items()}


# A drawn bird


def _bird(picked: Picked, own: Species) -> tuple[Image.Image, str]:
    """Show a drawn bird's parts, pose, light and surroundings; return it redrawn, and what was changed in words."""
    others = {other.name: other.name for other in siblings(own)}
    name = remember(st.segmented_control, "sibling", next(iter(others)), "Its sibling", others, required=True)
    other = next(each for each in siblings(own) if each.name == name)
    differ, forms, without = distinguishing_parts(own, other), [], []
    with st.container(horizontal=True, gap="medium"):
        for each in (one.name for one in fields(Marks)):
            options = {OWN: _form(own, each)} | ({SIBLING: _form(other, each)} if each in differ else {})
            options |= {WITHOUT: "left out"}
            shape = {"label_visibility": "visible", "width": "content"}
            wanted = switch(f"ask-{each}", OWN, each.capitalize(), options, **shape)
            if wanted == SIBLING:
                forms.append((each, getattr(other.marks, each)))
            elif wanted == WITHOUT:
                without.append(each)
    with st.popover("Pose, light, surroundings", icon=":material/landscape:"):
        pose = remember(st.slider, "ask-pose", 0, "Pose (0: its own)", 0, OTHERS)
        light = remember(st.slider, "ask-light", 0, "Light (0: its own)", 0, OTHERS)
        places = {"": "Its own"} | {one.name: one.name.capitalize() for one in SETTINGS}
        background = remember(st.selectbox, "ask-background", "", "Background", places)
        kinds = {"": "Its own"} | {kind: kind.capitalize() for kind in OCCLUDERS}
        occluder = remember(st.selectbox, "ask-occluder", "", "In front of it", kinds)
    change = Change(tuple(forms), tuple(without), background or None, occluder or None, pose or None, light or None)
    words = [f"the {each} of {name}" for each, _ in forms] + [f"no {each}" for each in without]
    around = {"another pose": pose, "another light": light, "another background": background, "other cover": occluder}
    words += [each for each, value in around.items() if value]
    assert picked.dataset is not None
    assert picked.sample is not None
    return redraw(picked.dataset, picked.sample, change), " and ".join(words)


def _form(species: Species, each: str) -> str:
    return str(getattr(species.marks, each))


def _single_changes(picked: Picked, own: Species, sights: Sequence[Seen]) -> None:
    """Say what the first run answers when one part alone is in the form of a sibling."""
    assert picked.dataset is not None
    assert picked.sample is not None
    one, lines = sights[0], []
    for other in siblings(own):
        for each in distinguishing_parts(own, other):
            changed = redraw(picked.dataset, picked.sample, Change(((each, _form(other, each)),)))
            best = predict_once(one.run, one.predictor.prepare(changed)).best
            said = f"**{plain(best.name)}** ({best.probability:.0%})"
            lines.append(f"- Change the {each} to that of {plain(other.name)}, and it says {said}.")
    st.markdown("\n".join([f"One part alone, {plain(name_of_run(one.run))}:", *lines]))


# Any image


def _patches(picked: Picked, one: Seen) -> tuple[Image.Image, str]:
    """Show the picture with its edits; return it edited, and what was done in words."""
    key = pixels_of(picked)
    kept = st.session_state.setdefault("ask-edits", {"of": key, "list": []})
    if kept.get("of") != key:
        kept = st.session_state["ask-edits"] = {"of": key, "list": []}
    place = st.container()
    image = edited(one.picture, kept["list"])
    with place:
        alt = f"{picked.title}: rub out or copy rectangles"
        data = {"of": key, "src": data_uri(jpeg(enlarged(image, SIDE))), "alt": alt, "edits": kept["list"]}
        default = {"edits": {"of": key, "list": []}}
        found = part("patches")(key="patches", data=data, default=default, on_edits_change=_take_edits)
    del found
    count = len(kept["list"])
    return image, f"{count} change{'s' if count > 1 else ''}" if count else ""


def _take_edits() -> None:
    """Keep what the component sends, for the picture that it is about."""
    sent = st.session_state["patches"].get("edits")
    if isinstance(sent, Mapping) and isinstance(sent.get("list"), list):
        st.session_state["ask-edits"] = {"of": sent.get("of"), "list": sent["list"][:MOST_EDITS]}


def edited(image: Image.Image, edits: Sequence[Mapping[str, Any]]) -> Image.Image:
    """Return a picture with rectangles filled in from around them, or copied; their places are shares of its sides.

    Raises ConfigError for an edit that is none.
    """
    pixels = np.array(image.convert("RGB"))
    for edit in edits:
        rows, columns = _window(edit.get("box"), pixels.shape)
        if edit.get("to") is None:
            missing = torch.zeros(1, *pixels.shape[:2], dtype=torch.bool)
            missing[0, rows, columns] = True
            if bool(missing.all()):
                raise ConfigError("The rectangle covers the whole image: leave some of it.")
            before = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
            filled = imputed(before, missing, torch.Generator().manual_seed(0), noise=0.0)
            pixels = filled[0].permute(1, 2, 0).round().clamp(0, 255).byte().numpy()
        else:
            patch = pixels[rows, columns].copy()
            to_rows, to_columns = _window([*edit["to"], *edit["box"][2:]], pixels.shape)
            room = pixels[to_rows, to_columns]
            room[:] = patch[: room.shape[0], : room.shape[1]] if room.shape <= patch.shape else _tiled(patch, room)
    return Image.fromarray(pixels)


def _tiled(patch: np.ndarray, room: np.ndarray) -> np.ndarray:
    """Return a patch at the size of a room that rounding has made a pixel larger."""
    return np.asarray(Image.fromarray(patch).resize((room.shape[1], room.shape[0])))


def _window(box: Any, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Return the rows and columns of a rectangle (x, y, width, height) in shares; at least one pixel."""
    fits = isinstance(box, list) and len(box) == 4 and all(isinstance(one, (int, float)) for one in box)
    if not fits or not all(0 <= one <= 1 for one in box):
        raise ConfigError(f"A rectangle {box!r}: expected x, y, width and height from 0 to 1.")
    x, y, width, height = box
    left, top = min(int(x * shape[1]), shape[1] - 1), min(int(y * shape[0]), shape[0] - 1)
    right, bottom = round((x + width) * shape[1]), round((y + height) * shape[0])
    return slice(top, max(top + 1, min(bottom, shape[0]))), slice(left, max(left + 1, min(right, shape[1])))
