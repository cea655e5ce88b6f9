"""The result and the records of a run as tables and figures, by task."""

from collections.abc import Callable
from functools import partial
from typing import Any

import streamlit as st

from app.shared.errors import guarded, plain
from app.shared.glossary import meaning
from app.shared.images import download
from app.shared.palette import CATEGORICAL, CHART
from app.shared.panels import say_differences
from app.shared.session import page_of
from app.shared.wording import perturbation_title, short_id
from app.views.numbers.maps import show_reports
from app.views.runs.curves import SMOOTHED, accuracy_figure, accuracy_rows, bar_figure, curves_csv, loss_figure
from app.views.runs.theatre import theatre_panel
from pmsi.base.text import duration, percent
from pmsi.runs import Run, Status
from pmsi.runs.comparison import chosen_on, summary

Records = list[dict[str, Any]]

HEADS_IN_WORDS = (
    "Each of the last stages of the network (S1 to S5, from fine to coarse) has a classifier of its own; concat sees "
    "them all together, and mix takes the mean of what all of these say."
)

SAVED = CHART | {
    "config": {
        "displaylogo": False,
        "modeBarButtons": [["toImage"]],
        "toImageButtonOptions": {"format": "png", "scale": 2},
    }
}
"""Arguments of a chart that can be saved as PNG."""


def took_s(run: Run, status: Status) -> float | None:
    """Return for how many seconds a run was worked on; None where it has not ended, or was resumed and does not say."""
    seconds = (run.result() or {}).get("seconds")
    if seconds is None and None not in (status.started_at, status.ended_at) and status.first_at == status.started_at:
        return float(status.ended_at - status.started_at)
    return None if seconds is None else float(seconds)


# While it works, and after


def train_records(run: Run, records: Records) -> None:
    """Draw the theatre and the curves of a training run."""
    scores = summary(records)
    if not records and not run.state.is_live:
        st.caption("Nothing was measured yet.")
        return
    with guarded():
        theatre_panel(run)
    _tiles(scores)
    left, right = st.columns(2)
    with st.container(horizontal=True, vertical_alignment="center"):
        smooth = st.slider("Smoothing", 0.0, 0.95, 0.0, 0.05, key="smoothing", help=SMOOTHED, width=260)
        download("Curves as CSV", partial(curves_csv, records), f"{run.id}.csv", key="curves-csv")
        st.caption("Point at a curve for its values; the camera above it saves a PNG.", width="content")
    with left:
        st.markdown("**Training loss** by phase", help=meaning("phase"))
        figure = loss_figure(records, smooth)
        st.plotly_chart(figure, key="loss", alt="Training loss of each phase over the epochs", **SAVED)
    with right:
        st.markdown("**Test accuracy** by output", help=meaning("head"))
        primary = scores["best"]["by"] if scores else None
        figure = accuracy_figure(records, primary, smooth)
        st.plotly_chart(figure, key="accuracy", alt="Test accuracy of each output over the epochs", **SAVED)
    last = scores["last"]["accuracy"] if scores else {}
    if "concat" in last:
        st.caption(HEADS_IN_WORDS + _mix_below(last))


def _mix_below(accuracy: dict[str, float | None]) -> str:
    """Return a sentence about a mix that is below concat; "" where it is not."""
    known = {head: value for head, value in accuracy.items() if value is not None}
    mix, concat = known.pop("mix", None), known.get("concat", 0.0)
    if mix is None or mix >= concat:
        return ""
    worst = min(known, key=known.__getitem__)
    return (
        f" Here mix is {100 * (concat - mix):.1f} points below concat: it adds what all outputs say, and "
        f"{plain(worst)}, which is right in {percent(known[worst])}, counts as much as the best. Where the difference "
        "is small, a few test images decide it."
    )


def _tiles(scores: dict[str, Any] | None) -> None:
    """Show the last and the best accuracy; their places are there before the first test, so that nothing jumps."""
    with st.container(horizontal=True):
        if scores is None:
            st.metric("Accuracy", "–", width=165)
            st.metric("Best", "–", width=165)
            return
        last, best = scores["last"], scores["best"]
        by = best["by"]
        st.metric(f"Accuracy of {by}", percent(last["accuracy"][by]), width=165)
        st.metric(f"Best, epoch {best['epoch']} {chosen_on(best)}", percent(best["accuracy"][by]), width=165)


def sweep_records(run: Run, records: Records) -> None:
    """Show what each run reached in each finished cell of a sweep, at the output with which it predicts."""
    rows = []
    for record in records:
        if record.get("kind") != "cell":
            continue
        name = record["perturbation"]
        severity = f"{record['severity']:g}" if name else ""
        row = {"Images": perturbation_title(name) if name else "Clean", "Severity": severity}
        rows.append(row | {short_id(id): _reached(found) for id, found in record.get("runs", {}).items()})
    if rows:
        st.table(rows, hide_index=True, border="horizontal")
        st.caption("Accuracy of each run, with its 95 % interval.")
        st.page_link(
            page_of("sweeps"), label="See the curves", icon=":material/show_chart:", query_params={"sweep": run.id}
        )


def _reached(found: dict[str, Any]) -> str:
    score = found["heads"][found["primary"]]
    return f"{percent(score['accuracy'])} ({percent(score['low'])} to {percent(score['high'])})"


RECORDS: dict[str, Callable[[Run, Records], None]] = {"train": train_records, "robustness": sweep_records}
"""What is shown while a run works, by its task."""

# Once it has finished


def show_result(task: str, result: dict[str, Any]) -> None:
    """Show the result of a finished run."""
    view = RESULTS.get(task, _any_result)
    if view is not None:
        st.subheader("Result", anchor=False)
        say_differences(result)
        view(result)


def _train_result(result: dict[str, Any]) -> None:
    if result.get("weights"):
        st.caption(f"Began with {plain(result['weights'])}")
    table, facts = st.columns([3, 2], gap="medium")
    best = result["best"]
    with table:
        st.table(accuracy_rows(result), hide_index=True, border="horizontal")
        st.caption(
            f"Test accuracy of each output at the last epoch ({result['last']['epoch']}), and at the epoch that was "
            f"best for {best['by']} ({best['epoch']}). "
            f"It was chosen on {'the test images, so it flatters' if chosen_on(best) else 'the validation part'}."
        )
    with facts:
        numbers = {
            "Training images": f"{result['train_images']:,}",
            "Test images": f"{result['test_images']:,}",
            **({"Validation images": f"{held:,}"} if (held := result.get("validation_images")) else {}),
            "Classes": f"{len(result['classes']):,}",
            "Accuracy of guessing": percent(1 / len(result["classes"])),
            "Parameters": f"{result['parameters'] / 1e6:.2f} M",
            "Training time": duration(result["seconds"]),
        }
        rows = [{"": key, " ": value} for key, value in numbers.items()]
        st.table(rows, hide_index=True, hide_header=True, border="horizontal")


def _evaluate_result(result: dict[str, Any]) -> None:
    st.write(f"{result['images']:,} {result['split']} images.")
    rows = [{"Output": head, "Accuracy": percent(value)} for head, value in result["accuracy"].items()]
    st.table(rows, hide_index=True, border="horizontal")
    classes = {name: value for name, value in (result.get("class_accuracy") or {}).items() if value is not None}
    if classes:
        st.markdown("**Accuracy by class**, the hardest on top")
        hardest = dict(sorted(classes.items(), key=lambda item: item[1])[:40])
        st.plotly_chart(bar_figure(hardest, "accuracy (%)"), key="classes", alt="Accuracy of each class", **CHART)


def _any_result(result: dict[str, Any]) -> None:
    """Show whatever a task returned: lists of rows as tables, the rest as it is."""
    rest = {}
    for name, value in result.items():
        if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
            st.markdown(f"**{name.replace('_', ' ').capitalize()}**")
            st.dataframe(value, hide_index=True)
        else:
            rest[name] = value
    if rest:
        st.json(rest, expanded=1)


def _numbers_result(section: str) -> Callable[[dict[str, Any]], None]:
    """Return what leads to a section of the Numbers page that shows a result."""

    def view(result: dict[str, Any]) -> None:
        asked = {"section": section, **dict(zip(("run", "beside"), result["of"], strict=False))}
        label = "Its figures on the Numbers page"
        st.page_link(page_of("numbers"), label=label, icon=":material/straighten:", query_params=asked)

    return view


def _maps_result(result: dict[str, Any]) -> None:
    """Show where a run looks; of another protocol, lead to the section of the Numbers page that has its name."""
    if "regions" in result:
        show_reports([(short_id(result["of"]), CATEGORICAL[0], result)], st.container())
    else:
        _numbers_result(result["protocol"])(result | {"of": [result["of"]]})


RESULTS: dict[str, Callable[[dict[str, Any]], None] | None] = {
    "train": _train_result,
    "evaluate": _evaluate_result,
    "robustness": None,  # its records say it all
    "maps": _maps_result,
    "calibrate": _numbers_result("calibration"),
    "unknowns": _numbers_result("unknowns"),
}
