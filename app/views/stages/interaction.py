"""The interaction, closer: the answers with it and without, and x_n, x_m, g_n and m_n of Eq. 1 to 3 as bars."""

import csv
import io
from collections.abc import Sequence
from html import escape

import numpy as np
import streamlit as st

from app.shared.errors import guarded, plain
from app.shared.gates import heard
from app.shared.images import download
from app.shared.palette import head_color
from app.shared.panels import unknown_class
from app.shared.wording import method_title, name_of_run
from app.views.stages.looks import Look
from pmsi.explain.stages import CLOSED, GATES, OPEN, Interaction
from pmsi.robustness.drawing import faded

SHOWN = 12

INTRO = (
    "Each of the last stages sums up its map in a list of numbers, **xₙ**: the largest value of each channel of its "
    "smooth convolution. A mixture of all lists, **xₘ** (Eq. 1), decides by a **gate gₙ** from 0 to 1 (Eq. 2) how "
    "much of each number is added once more: **mₙ = xₙ + gₙ ⊙ xₙ** (Eq. 3). A gate of 1 doubles a number, 0 leaves it, "
    "and ½ is what it is where the mixture is 0. The classifiers read mₙ."
)


def interaction(
    looks: Sequence[Look], _stage: str, _channels: Sequence[int], _cells: Sequence[tuple[int, int]]
) -> None:
    """Draw the answers for each row of GATES, and the vectors, of each run."""
    st.markdown(INTRO, width=820)
    for place, one in zip(st.columns(len(looks), gap="large"), looks, strict=True):
        with place:
            if len(looks) > 1:
                st.markdown(f"**{plain(name_of_run(one.run))}**")
            _of(one)


def _of(one: Look) -> None:
    found, method = one.found.interaction, method_title(one.predictor.config.method)
    with st.container(key=f"gates-{one.run.id}"):
        st.markdown(answers_table(one))
    best = one.predictor.prediction(one.found.outputs["on"], 1).best.name
    if strange := unknown_class(one.run, one.label, best):
        st.caption(f":material/info: {plain(strange)}")
    if found is None:
        st.info(
            f"{plain(method)} has no interaction: its classifier reads the map of the last stage alone, and no stage "
            "hears of another.",
            icon=":material/info:",
        )
        return
    if found.x_m is None:
        st.info(f"{plain(method)} has no interaction: mₙ = xₙ, and there are no gates.", icon=":material/info:")
    else:
        st.caption("  \n".join(f"**{gate.title}**: {gate.words}." for gate in GATES.values()))
        st.markdown("  \n".join(_gates_words(name, gates) for name, gates in found.g.items()))
    st.html(vectors_html(found))
    download("Download all numbers (CSV)", lambda: to_csv(found), "interaction.csv", "table")
    if found.x_m is not None:
        _over_images(one)


@guarded()
def _over_images(one: Look) -> None:
    """Say how many gates are the same on all images, and what is right without them."""
    if words := heard(one.run):
        st.markdown(f"**Do the gates look at the image?** {words}")


def answers_table(one: Look) -> str:
    """Return the best answer of every head for each state of the gates, in Markdown; others than with it are marked."""
    answers = {gate: one.predictor.prediction(logits, 1).heads for gate, logits in one.found.outputs.items()}
    titles = ["Interaction", *(GATES[gate].title for gate in answers)] if len(answers) > 1 else ["Output", "Answer"]
    lines = [f"| {' | '.join(titles)} |", "|---" * (len(answers) + 1) + "|"]
    for head in one.predictor.heads:
        usual, cells = answers["on"][head][0], []
        for heads in answers.values():
            best = heads[head][0]
            words = f"{plain(best.name)} {best.probability:.0%}"
            cells.append(words if best.label == usual.label else f":orange[**{words}**]")
        lines.append(f"| **{head}** | {' | '.join(cells)} |")
    return "\n".join(lines)


def _gates_words(name: str, gates: np.ndarray) -> str:
    opened, closed = int((gates > OPEN).sum()), int((gates < CLOSED).sum())
    return (
        f"**{name}**: of {len(gates)} gates, {opened} are open (above {OPEN}), {closed} closed (below {CLOSED}), and "
        f"{len(gates) - opened - closed} between."
    )


def vectors_html(of: Interaction) -> str:
    """Return the numbers in which x is largest as bars: x_n in the stage's colour, and what its gate adds lighter."""
    best = np.argsort(-np.sum([*of.x.values()], axis=0), kind="stable")[:SHOWN]
    longest = max(float(m[best].max()) for m in of.m.values()) or 1.0
    mixed = of.x_m is not None
    head = "<span>k</span>" + ("<span>xₘ</span>" if mixed else "")
    bar = "xₙ, and what its gate adds" if mixed else "xₙ"
    head += "".join(f"<b>{escape(name)}: {bar}</b>" for name in of.m)
    rows = []
    for k in best:
        cells = f"<span>{k}</span>" + (f"<span>{of.x_m[k]:+.3g}</span>" if of.x_m is not None else "")
        for name, m in of.m.items():
            x, color = float(of.x[name][k]), head_color(name)
            gate = f" · g {of.g[name][k]:.2f}" if mixed else ""
            bars = _segment(x, longest, color) + _segment(float(m[k]) - x, longest, faded(color, 0.45))
            cells += f"<div><div>{bars}</div><small>{x:.2f}{gate}{f' → {m[k]:.2f}' if mixed else ''}</small></div>"
        rows.append(f"<section>{cells}</section>")
    kind = "mixed" if mixed else "plain"
    return f'<div class="vectors {kind}" style="--stages:{len(of.m)}"><section>{head}</section>{"".join(rows)}</div>'


def _segment(value: float, longest: float, color: str) -> str:
    return f'<i style="width:{max(0.0, value) / longest:.2%};background:{color}"></i>'


def to_csv(of: Interaction) -> str:
    """Return x_m, and x_n, g_n and m_n of every stage, a line for each k."""
    kinds = {f"{kind}_{name}": one for kind in ("x", "g", "m") for name, one in getattr(of, kind).items()}
    named = ({} if of.x_m is None else {"x_m": of.x_m}) | kinds
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(["k", *named])
    writer.writerows([k, *(float(one) for one in line)] for k, line in enumerate(zip(*named.values(), strict=True)))
    return file.getvalue()
