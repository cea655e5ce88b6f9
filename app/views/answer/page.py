"""The Answer page: a picture in, what a network takes it for out, from every head; and a table of several pictures."""

import csv
import io
from typing import Any

import streamlit as st

from app.shared.bar import bar
from app.shared.cached_models import classes_of_run, predict_once, predictor_of
from app.shared.charts import answers_html, confidence_bars, mark
from app.shared.errors import guarded, plain
from app.shared.glossary import meaning
from app.shared.images import download, picture
from app.shared.palette import head_color
from app.shared.panels import Picked, no_runs_yet, run_colors, say_unfamiliar, unknown_class
from app.shared.picking import as_picked, own_pictures, small_once, uploads
from app.shared.wording import name_of_run
from pmsi.pictures.encoding import data_uri, jpeg
from pmsi.predictor import Prediction
from pmsi.runs import Run

TOP = 5


def page() -> None:
    """Draw the page."""
    st.title("What is it?", anchor=False, help=meaning("head"))
    chosen = bar(here="answer")
    if chosen.run is None:
        no_runs_yet("An answer needs a model.")
        return
    if chosen.picked is None:
        st.info("Choose an image: a sample, a photo, or a picture of yours.", icon=":material/image:")
    else:
        _answers(chosen.picked, chosen.runs, chosen.output)
    _batch(chosen.runs, chosen.output)


def answer_of(run: Run, picked: Picked) -> Prediction:
    """Return what a run predicts for an image."""
    return predict_once(run, predictor_of(run).prepare(picked.image))


def _answers(picked: Picked, runs: list[Run], output: str) -> None:
    colors = run_colors(runs)
    left, right = st.columns([2, 3], gap="medium")
    with left:
        picture(jpeg(predictor_of(runs[0]).prepare(picked.image)), alt=f"{picked.title}, as the network sees it")
    for place, run in zip(right.columns(len(runs), gap="medium"), runs, strict=True):
        with place, guarded():
            _answer(picked, run, output, colors[run.id] if len(runs) > 1 else "")


def _answer(picked: Picked, run: Run, output: str, color: str) -> None:
    prediction = answer_of(run, picked)
    head = output if output in prediction.heads else prediction.primary
    best = prediction.heads[head][0]
    strange = unknown_class(run, picked.label, best.name)
    truth = None if strange else picked.label
    if color:
        st.html(f'<div style="border-top:4px solid {color};border-radius:2px"></div>')
        st.caption(plain(name_of_run(run)))
    st.subheader(f"{plain(best.name)}{mark(best.name, truth)} :gray[{best.probability:.0%}]", anchor=False)
    if strange:
        st.caption(f":material/info: {plain(strange)}")
    say_unfamiliar(prediction)
    st.html(confidence_bars(prediction.heads[head], None, head_color(head), top=TOP, truth=truth))
    kind = "calibrated: of answers given 80 %, about 80 % are right" if prediction.calibrated else "not calibrated"
    st.caption(f"Output {head}; probabilities are {kind}.", help=meaning("head"))
    said = {name: (guesses[0].name, guesses[0].probability) for name, guesses in prediction.heads.items()}
    with st.expander("Every output", expanded=True):
        st.html(answers_html(said, truth, "What each output says"))


# Several pictures


def _batch(runs: list[Run], output: str) -> None:
    """Answer all pictures that the visitor has uploaded, in a table that can be taken along."""
    with st.expander("Several pictures of yours", expanded=bool(uploads()), icon=":material/photo_library:"):
        own_pictures("answer")
        if not uploads():
            return
        rows = [row for digest in uploads() for run in runs if (row := _row(digest, run, output))]
        shown = {"Picture": st.column_config.ImageColumn(width="small"), "Probability": PERCENT}
        st.dataframe(rows, hide_index=True, column_config=shown, row_height=56)
        download("Download CSV", lambda: as_csv(rows), "answers.csv")


PERCENT = st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1)


def _row(digest: str, run: Run, output: str) -> dict[str, Any]:
    """Return a picture's line of the table: the answer first, then what each output says."""
    picked, row = as_picked(digest), {}
    with guarded():
        prediction = answer_of(run, picked)
        head = output if output in prediction.heads else prediction.primary
        best = prediction.heads[head][0]
        row = {
            "Picture": data_uri(small_once(picked.image)),
            "Answer": best.name,
            "Probability": best.probability,
            "File": picked.title,
            "Run": name_of_run(run),
            "Classes": len(classes_of_run(run)),
        }
        if prediction.familiarity is not None:
            row["Not one of them?"] = prediction.familiarity.is_unknown
        for name, guesses in prediction.heads.items():
            row |= {name: guesses[0].name, f"{name} probability": guesses[0].probability}
    return row


FORMULA = ("=", "+", "-", "@", "\t", "\r")


def as_csv(rows: list[dict[str, Any]]) -> str:
    """Return the table as CSV, without the pictures; names that a spreadsheet would take for a formula are quoted."""
    out = io.StringIO()
    names = [name for name in dict.fromkeys(name for row in rows for name in row) if name != "Picture"]
    writer = csv.DictWriter(out, names, extrasaction="ignore")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: f"'{value}" if str(value).startswith(FORMULA) else value for name, value in row.items()})
    return out.getvalue()
