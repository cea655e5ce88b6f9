"""What a network uses: what its answer loses without each part, how well maps agree, and whether they follow it."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from app.shared.charts import whiskers
from app.shared.errors import plain
from app.shared.palette import CHART, NEUTRAL, head_color, styled
from app.shared.panels import run_colors, say_differences
from app.shared.session import remember, switch
from app.shared.wording import cam_title, name_of_run
from app.views.numbers.reports import Result, interval, names, offer, reports
from pmsi.config import MapsConfig
from pmsi.explain.measures.parts import AREA, ORACLE, RANDOM
from pmsi.explain.measures.sanity import NOTHING
from pmsi.runs import Run
from pmsi.runs.record import is_of_earlier_model

Ends = Mapping[str, float]

CHANGES = {"without": "A part left out", "swap": "In a sibling's form"}
UNITS = {"logit": "The logit it costs", "p": "The probability it costs"}
ENDINGS = {"logit": "", "p": " p"}
"""How the keys of importance end in each unit."""
AGREEMENTS = {
    "correlation": "Correlation with the true importance (1: the same order, 0: chance)",
    "sensitivity": "Target sensitivity: a part counts for the class whose form it has (chance 50 %)",
    "deletion": "Deletion check: without the parts that count, the answer changes",
    "preservation": "Preservation check: with them alone, it stays",
    "distractibility": "Distractibility: what does not matter does not count (more is better)",
}
BESIDE = (ORACLE, AREA, RANDOM)


def parts(run: Run, beside: Run | None, output: str) -> None:
    """Show what the answers of one or two runs lose with each part, and how well maps say so."""
    runs = [run] if beside is None else [run, beside]
    found = _report(run, beside, "parts")
    if found is None:
        words = f"What {names(runs)} use has not been measured yet: some ten minutes on two cores."
        offer(words, MapsConfig(of=run.id, beside=beside and beside.id, protocol="parts", test_per_class=10), "parts")
        return
    shown = _shown(runs, found, output)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        change = switch("change", "without", "A part is", CHANGES)
        unit = ENDINGS[switch("loses", "p" if len(runs) > 1 else "logit", "What the class loses", UNITS)]
    alt = "What the class loses with each part, by run, with 95 % intervals"
    st.plotly_chart(importance_figure(shown, f"/{change}{unit}"), key="importance", alt=alt, **CHART)
    for name, _, _, about in shown:
        st.markdown(f"**{plain(name)}**: {_most(about['importance'], change, unit)}")
    if "beside" in found:
        apart = _apart(found["beside"]["minus"]["importance"], f"/{change}{unit}", shown)
        st.caption(plain(apart if unit else "Logits of two networks have no common unit: compare probabilities."))
    measure = remember(st.selectbox, "agrees", "correlation", "How well maps say so", AGREEMENTS, width=560)
    for name, _, head, about in shown:
        st.table(_agreement(about, found, measure), hide_index=True, border="horizontal")
        st.caption(f"{plain(name)}, output {head}.")
    say_differences(found, *runs)
    st.caption(
        f"On {found['images']} test images, means with 95 % bootstrap intervals. The very same image is shown with a "
        "change: what the class's logit or probability then loses is a part's true importance. The oracle knows it; "
        "area says of each part how large it is. After FunnyBirds (ICCV 2023); docs/parts.md says what differs."
    )


def sanity(run: Run, beside: Run | None, output: str) -> None:
    """Show how alike maps stay as a run's layers are shuffled from the top down."""
    stages = ("S3", "S4", "S5")
    stage = str(switch("stage", "S5", "Stage", stages))
    for each in [run] if beside is None else [run, beside]:
        found = _report(each, None, "sanity")
        if found is None:
            words = f"Whether the maps of {name_of_run(each)} follow its parameters has not been measured yet."
            offer(words, MapsConfig(of=each.id, protocol="sanity", test_per_class=2), f"sanity-{each.id}")
            continue
        alt = f"Spearman's correlation of maps of {stage} before and after layers are shuffled, by CAM method"
        st.plotly_chart(sanity_figure(found, stage), key=f"sanity-chart-{each.id}", alt=alt, **CHART)
        st.markdown("\n".join([f"**{plain(name_of_run(each))}**, output {found['head']}:\n", *verdicts(found, stage)]))
    st.caption(
        "Each layer's parameters are shuffled together with those of all layers before it in the list, the last layers "
        "first (Adebayo et al., 2018). A map that stays alike is no explanation of the network. The grey line is how "
        "alike noise is to a map."
    )


def _report(run: Run, beside: Run | None, protocol: str) -> Result | None:
    """Return the newest report of a protocol on a run, beside the other one if there is one.

    One of two runs serves for either alone and for both in either order.
    """
    for job, result in reports(run, MapsConfig, ("of", "beside")):
        found = seen_from(run.id, result) if result.get("protocol") == protocol else None
        other = (found or {}).get("beside", {}).get("run")
        if found is not None and (beside is None or (other == beside.id and not is_of_earlier_model(job, beside))):
            return found if beside is not None else {key: found[key] for key in found if key != "beside"}
    return None


def seen_from(id: str, report: Result) -> Result | None:
    """Return a report as one about this run: turned round where the run is the one beside; None if it is neither."""
    other = report.get("beside")
    if report["of"] == id or other is None or other["run"] != id:
        return report if report["of"] == id else None
    numbers = [key for key in other if key not in ("run", "minus")]
    minus = {
        kind: {key: {"mean": -d["mean"], "low": -d["high"], "high": -d["low"], "p": d["p"]} for key, d in each.items()}
        for kind, each in other["minus"].items()
    }
    beside = {"run": report["of"], "minus": minus, **{key: report[key] for key in numbers}}
    return {**report, **{key: other[key] for key in numbers}, "of": id, "beside": beside}


Shown = tuple[str, str, str, Mapping[str, Any]]
"""A run's name, colour and output, and its numbers at that output: "importance", "agreement", "thresholds"."""


def _shown(runs: Sequence[Run], found: Result, output: str) -> list[Shown]:
    colors, shown = run_colors(runs), []
    for run, about, primary in zip(runs, (found, found.get("beside")), _heads(found), strict=False):
        if about is not None:
            head = output if output in about["importance"] else primary
            here = {key: about[key][head] for key in ("importance", "agreement")}
            shown.append((name_of_run(run), colors[run.id], head, here))
    return shown


def _heads(found: Result) -> tuple[str, str]:
    return found["head"], found.get("beside", found)["head"]


def importance_figure(shown: Sequence[Shown], ending: str) -> go.Figure:
    """Return what the class loses by part and run, with intervals."""
    figure = go.Figure()
    for name, color, head, about in shown:
        values = {key.partition("/")[0]: ends for key, ends in about["importance"].items() if key.endswith(ending)}
        scale = 100 if ending.endswith(" p") else 1
        figure.add_bar(
            x=[part.capitalize() for part in values],
            y=[scale * ends["mean"] for ends in values.values()],
            error_y=whiskers([*values.values()], scale=scale),
            name=f"{escape(name)}, {head}",
            marker_color=color,
        )
    styled(figure, height=340)
    title = "Probability lost (points)" if ending.endswith(" p") else "Logit lost"
    figure.update_yaxes(title=title)
    return figure


def _most(importance: Mapping[str, Ends], change: str, unit: str) -> str:
    """Say which part matters most."""
    found = {key.partition("/")[0]: ends for key, ends in importance.items() if key.endswith(f"/{change}{unit}")}
    found.pop("background", None)
    if not found:
        return "no part could be changed."
    best = max(found, key=lambda part: found[part]["mean"])
    ends, scale = found[best], 100 if unit else 1
    sure = "" if ends["low"] > 0 else ", which is not distinguishable from nothing"
    what = "points of probability" if unit else "of the logit"
    value, low, high = (scale * ends[end] for end in ("mean", "low", "high"))
    return f"the {best} matters most: {value:.2f} {what} ({low:.2f} to {high:.2f}){sure}."


def _apart(minus: Mapping[str, Ends], ending: str, shown: Sequence[Shown]) -> str:
    """Say for which parts the two runs differ after Holm's correction."""
    keys = {key.partition("/")[0]: ends for key, ends in minus.items() if key.endswith(ending)}
    apart = [f"{part} ({ends['mean']:+.2f}, p = {ends['p']:.2g})" for part, ends in keys.items() if ends["p"] < 0.05]
    pair = f"{shown[1][0]} minus {shown[0][0]}, image by image at the outputs that predict"
    return f"{pair}: {', '.join(apart) if apart else 'no part differs after correction'}."


def _agreement(about: Mapping[str, Any], found: Result, measure: str) -> list[dict[str, str]]:
    """Return a row for each CAM method, and for the explanations beside, of one measure by stage."""
    numbers, stages = about["agreement"], found["stages"]
    rows = [
        {"Explained by": cam_title(method)}
        | {stage: interval(numbers.get(f"{method} {stage}/{measure}")) for stage in stages}
        for method in found["methods"]
    ]
    return rows + [
        {"Explained by": source.capitalize()} | dict.fromkeys(stages, interval(numbers[f"{source}/{measure}"]))
        for source in BESIDE
        if f"{source}/{measure}" in numbers
    ]


# Sanity


def sanity_figure(found: Result, stage: str) -> go.Figure:
    """Return the similarity of a stage's maps by layer, a line for each CAM method, and the floor."""
    figure, layers = go.Figure(), [NOTHING, *found["layers"]]
    for method in found["methods"]:
        key = f"{method} {stage}/spearman"
        ends = {layer: found["numbers"][layer].get(key) for layer in layers}
        known = [layer for layer in layers if ends[layer]]
        figure.add_scatter(
            x=known,
            y=[ends[layer]["mean"] for layer in known],
            mode="lines+markers",
            name=cam_title(method),
        )
    floors = [found["numbers"][NOTHING].get(f"{method} random {stage}/spearman") for method in found["methods"]]
    if any(floors):
        level = sum(ends["mean"] for ends in floors if ends) / len([ends for ends in floors if ends])
        figure.add_hline(level, line={"color": NEUTRAL, "width": 1}, annotation={"text": "noise"})
    styled(figure, height=340)
    figure.update_yaxes(title=f'<span style="color:{head_color(stage)}">■</span> <b>{stage}</b>: alike as before (ρ)')
    return figure.update_xaxes(title="Shuffled down to")


def verdicts(found: Result, stage: str) -> list[str]:
    """Say in a line for each CAM method whether its maps follow the heads and the whole network."""
    layers, lines = found["layers"], []
    heads = [layer for layer in layers if not layer[1:].isdecimal()]
    for method in found["methods"]:
        key = f"{method} {stage}/spearman"
        top, all_of_it = (found["numbers"][layer].get(key) for layer in (heads[-1], layers[-1]))
        if top is None or all_of_it is None:
            continue
        follows = "hardly depends on the heads" if top["low"] > 0.9 else "follows the heads"
        lines.append(
            f"- **{cam_title(method)}** {follows}: ρ = {top['mean']:z.2f} once they are shuffled, "
            f"{all_of_it['mean']:z.2f} once everything is."
        )
    return lines
