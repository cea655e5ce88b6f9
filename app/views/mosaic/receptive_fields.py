"""The patch rule: receptive fields over the image, beside the patches of each phase."""

from collections.abc import Sequence

import streamlit as st

from app.shared.charts import rule_cards
from app.shared.components import part
from app.shared.fields import title_of
from app.shared.palette import head_color
from app.shared.session import choice, remember, switch
from app.views.mosaic.code import Scene
from pmsi.augment.rule import PhaseRule, largest_size, nearest_size, patch_rule
from pmsi.model import BACKBONES
from pmsi.model.backbones import receptive_fields_of
from pmsi.pictures.encoding import data_uri, jpeg

SMALLEST = 32
"""Smallest image size that a config takes."""
MIDDLE = (0.5, 0.5)

INTRO = (
    "The receptive field of a stage is the part of the image that one position of its map can see. The smallest "
    "patch of a phase should be smaller than the receptive field of the stage that the phase trains, so that a "
    "position sees more than one patch. Otherwise the stage is harder to train (section III-B of the paper)."
)


def fields(scene: Scene) -> None:
    """Draw the fields over the image, and the rule with its numbers for a backbone, a size and StageNum."""
    st.markdown(INTRO, width=820)
    backbone, stem_stride, size, stage_num = _settings()
    known = receptive_fields(backbone, stem_stride)
    rules = _rules(known, size, stage_num)
    part("fields")(key="fields", data=_shown(scene, known, rules, size))
    unknown = [f"S{n}" for n, field in enumerate(known, start=1) if field is None and n > len(known) - stage_num]
    if unknown:
        st.info(
            f"What a position of {_list(unknown)} sees of the image is not known: this network has layers, such as "
            "attention, that are no convolutions.",
            icon=":material/info:",
        )
        return
    st.html(rule_cards(rules, size))
    _warnings(rules, size)
    st.caption(
        "Squares are to scale: the image in its smallest patches, and in colour the receptive field of the position in "
        "its middle, cut off at the image's edge. Receptive fields are theoretical ones of the stage's last layer."
    )


def _settings() -> tuple[str, int, int, int]:
    """Return the backbone, the stride of its stem, the image's size in pixels, and StageNum."""
    with st.container(horizontal=True):
        backbone = remember(
            st.selectbox,
            "backbone",
            "mobilenet_v2",
            "Backbone",
            list(BACKBONES),
            format_func=lambda name: title_of(BACKBONES, name),
            accept_new_options=True,
            help="Or type timm:NAME for a network of timm, such as timm:mobilenetv4_conv_small.",
            width=260,
        )
        shape = {"label_visibility": "visible", "width": "content"}
        help = "Stride of the first convolution: 1 in the released code, whose fields are about half as wide."
        stem_stride = switch("stem", 2, "Stem stride", [2, 1], help=help, **shape)
        size = remember(st.number_input, "size", 448, "Image size (px)", SMALLEST, 1024, step=32, width=170)
        stage_num = switch("stages", 3, "Stages trained (StageNum)", [1, 2, 3, 4, 5], **shape)
    return backbone, int(stem_stride), int(size), int(stage_num)


def _rules(known: Sequence[int | None], size: int, stage_num: int) -> list[PhaseRule]:
    return patch_rule(size, [field or 0 for field in known], stage_num)


def _shown(scene: Scene, known: Sequence[int | None], rules: list[PhaseRule], size: int) -> dict:
    """Return what the part in the browser needs: the image, and each stage whose field is known."""
    by_stage = {rule.stage: rule for rule in rules}
    stages = []
    for n, field in enumerate(known, start=1):
        if field is not None:
            name = f"S{n}"
            stages.append(_stage(name, field, by_stage.get(name)))
    return {
        "image": data_uri(jpeg(scene.square)),
        "title": scene.picked.title,
        "size": size,
        "stages": stages,
        "at": position(choice("at")),
        "chosen": choice("field"),
    }


def _stage(name: str, field: int, rule: PhaseRule | None) -> dict:
    verdict = ""
    if rule is not None:
        sign = "✓ smaller" if rule.ok else "⚠ not smaller"
        verdict = f"phase {rule.phase}: smallest patch {rule.smallest_patch} px (r = {rule.r}), {sign}"
    patch = rule.smallest_patch if rule else 0
    color = head_color(name)
    return {"name": name, "field": field, "color": color, "patch": patch, "words": f"{field} px", "verdict": verdict}


def position(text: str) -> list[float]:
    """Return the x and y, 0–1, that "0.25,0.5" of a URL says; the middle where it says anything else."""
    try:
        x, y = (float(number) for number in text.split(","))
    except ValueError:
        return list(MIDDLE)
    return [x, y] if 0 <= x <= 1 and 0 <= y <= 1 else list(MIDDLE)


def _warnings(rules: list[PhaseRule], size: int) -> None:
    """Say what is wrong with the size, and which one would do."""
    deepest = max(rule.r for rule in rules)
    better = nearest_size(size, deepest)
    if better != size:
        st.warning(
            f"{size} px cannot be cut in half {deepest} times. The nearest size that works is {better} px.",
            icon=":material/crop:",
        )
    broken = [rule.stage for rule in rules if not rule.ok]
    if broken:
        largest = largest_size(rules)
        advice = (
            f"It holds up to {largest} px." if largest >= SMALLEST else "Fewer stages, or another backbone, keep it."
        )
        st.warning(
            f"The rule is broken for {_list(broken)}: the smallest patch is not smaller than the receptive "
            f"field. {advice}",
            icon=":material/warning:",
        )


def _list(words: list[str]) -> str:
    """Return "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


@st.cache_resource(show_spinner=False, max_entries=64)
def receptive_fields(backbone: str, stem_stride: int) -> tuple[int | None, ...]:
    """Return the receptive fields of S1…S5 of a backbone, in pixels; None where one is unknown."""
    return receptive_fields_of(backbone, stem_stride)
