"""What the Train page's form starts from, and its URL: a preset or a run, the changed fields, a sweep's values.

The URL is written after each change. An opened link makes a new form; values in it that are not allowed are left out.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any

import streamlit as st

from app.shared.panels import trained_runs
from app.shared.session import rewrite
from app.shared.wording import line_of_run
from pmsi.base.errors import ConfigError, PMSIError, lookup
from pmsi.choices import options_of
from pmsi.config import TrainConfig, differences
from pmsi.config.presets import PRESETS
from pmsi.config.text import from_text, to_text
from pmsi.runs import Run, default_root
from pmsi.tables.grid import varied

PRESET, SETTINGS, VARY = "preset", "settings", "vary"
"""Names in the address, beside those of fields: a preset, a run whose settings are taken over, what a sweep varies."""

A_RUN = "run"
"""The choice beside the presets."""

FIELDS = tuple(about.name for about in fields(TrainConfig))

CHOSEN, CHOSEN_RUN, VARIED = "train-preset", "train-run", "train-vary"
"""Keys of widgets."""

_WRITTEN, _STARTS, _RESETS = "train-written", "train-starts", "train-resets"

Address = dict[str, str | list[str]]


@dataclass(frozen=True)
class Start:
    """What a form is filled with: ``config`` is ``reference`` (a preset, or a run's settings) as a link changes it.

    ``name`` is the form's own, for its widgets' keys; ``ignored`` says what of the link was left out, and ``runs`` are
    those that have a model.
    """

    name: str
    reference: TrainConfig
    config: TrainConfig
    ignored: tuple[str, ...] = ()
    runs: tuple[Run, ...] = ()

    @property
    def key(self) -> str:
        """The beginning of the form's widgets' keys; another one after a reset, and for another link."""
        return f"train-{self.name}-{st.session_state.get(_RESETS, {}).get(self.name, 0)}"


def reset(name: str) -> None:
    """Forget what was typed into a form: its widgets get new keys."""
    resets = st.session_state.setdefault(_RESETS, {})
    resets[name] = resets.get(name, 0) + 1


def start() -> Start:
    """Let the visitor choose a preset or a run to start from, as an opened link says at first; return what it means."""
    asked = _asked()
    if asked and asked != st.session_state.get(_WRITTEN):
        _open(asked)
    runs = {run.id: run for run in trained_runs()}
    names = [*PRESETS, *([A_RUN] if runs else [])]
    if st.session_state.get(CHOSEN) not in names:
        st.session_state[CHOSEN] = names[0]
    name = st.segmented_control(
        "Start from",
        names,
        format_func=lambda name: PRESETS[name].title if name in PRESETS else "A trained run",
        required=True,
        key=CHOSEN,
        persist_state="session",
    )
    if name != A_RUN:
        st.caption(PRESETS[name].help)
        return _started(str(name), PRESETS[name].config, runs.values())
    if st.session_state.get(CHOSEN_RUN) not in runs:
        st.session_state.pop(CHOSEN_RUN, None)
    id = st.selectbox(
        "Run",
        list(runs),
        format_func=lambda id: line_of_run(runs[id], st.context.timezone),
        key=CHOSEN_RUN,
        persist_state="session",
        label_visibility="collapsed",
    )
    st.caption(
        "The new run takes over this one's settings and its trained model; change what you like. To train the same "
        "from the beginning, empty **Start from the model of**."
    )
    return _started(id, settings_of(runs[id]), runs.values())


def settings_of(run: Run) -> TrainConfig:
    """Return the settings of a run that goes on from another one's model, with that one's own settings."""
    config = run.config
    assert isinstance(config, TrainConfig)
    return config.with_(start_from=run.id)


def _started(name: str, reference: TrainConfig, runs: Collection[Run]) -> Start:
    start = Start(name, reference, reference)
    linked, ignored = st.session_state.get(_STARTS, {}).get(start.key, (reference, ()))
    return Start(name, reference, linked, ignored, tuple(runs))


def write(start: Start, config: TrainConfig, varied: list[str]) -> None:
    """Write into the address what the form says now."""
    first = next(iter(PRESETS))
    wanted: Address = {PRESET if start.name in PRESETS else SETTINGS: start.name}
    wanted |= {name: to_text(value) for name, value in differences(config, start.reference).items()}
    wanted |= {VARY: varied} if varied else {}
    if wanted == {PRESET: first}:
        wanted = {}  # what is there without an address
    st.session_state[_WRITTEN] = wanted
    if _asked() != wanted:
        others = {name: st.query_params.get_all(name) for name in st.query_params if name not in _names()}
        rewrite(others | wanted)


def address_of(config: TrainConfig) -> dict[str, str]:
    """Return the address of a form with these settings: the preset that is nearest to them, and what is different."""
    changes = {name: differences(config, row.config) for name, row in PRESETS.items()}
    nearest = min(changes, key=lambda name: len(changes[name]))
    return {PRESET: nearest} | {name: to_text(value) for name, value in changes[nearest].items()}


def linked_sweep() -> bool:
    """Return whether the address names a sweep: its panel is open then."""
    return VARY in st.query_params


def _names() -> Collection[str]:
    return (PRESET, SETTINGS, VARY, *FIELDS)


def _asked() -> Address:
    """Return what the address says about this page, as `write` would have written it."""
    found: Address = {name: st.query_params[name] for name in _names() if name in st.query_params and name != VARY}
    return found | ({VARY: st.query_params.get_all(VARY)} if VARY in st.query_params else {})


def _open(asked: Address) -> None:
    """Make a new form of a link, and let the widgets above it follow."""
    texts = {name: text for name, text in asked.items() if isinstance(text, str)}
    name, reference, ignored = _reference(texts)
    if SETTINGS not in texts and PRESET not in texts:
        texts.pop("start_from", None)  # it has said which settings, and is among them
    changes, more = readable({field: text for field, text in texts.items() if field in FIELDS})
    config, wrong = applied(reference, changes)
    st.session_state[CHOSEN] = name if name in PRESETS else A_RUN
    if name not in PRESETS:
        st.session_state[CHOSEN_RUN] = name
    reset(name)
    key = Start(name, reference, config).key
    st.session_state.setdefault(_STARTS, {})[key] = (config, (*ignored, *more, *wrong))
    _open_sweep(asked.get(VARY, []))
    st.session_state[_WRITTEN] = asked


def _open_sweep(axes: Collection[str]) -> None:
    pairs = [text.partition("=") for text in axes]
    st.session_state[VARIED] = [name for name in dict.fromkeys(name for name, _, _ in pairs) if name in varied()][:2]
    for name, _, values in pairs:
        st.session_state[f"{VARIED}-{name}"] = values


def _reference(texts: Mapping[str, str]) -> tuple[str, TrainConfig, list[str]]:
    """Return the name and the config that a link starts from, and what is wrong with what it says about that."""
    ignored = []
    id = texts.get(SETTINGS) or ("" if PRESET in texts else texts.get("start_from", ""))
    if id:
        try:
            wanted = Run.open(default_root(), id)
            run = next(run for run in trained_runs() if run.id == wanted.id)
            return run.id, settings_of(run), ignored
        except (PMSIError, StopIteration) as error:
            ignored.append(str(error) or f"Run {id!r} has no trained model.")
    name = texts.get(PRESET, next(iter(PRESETS)))
    try:
        lookup("preset", PRESETS, name)
    except ConfigError as error:
        ignored.append(str(error))
        name = next(iter(PRESETS))
    return name, PRESETS[name].config, ignored


def readable(texts: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """Return the values of the fields that a link names, and what is wrong with those that say none."""
    values, wrong = {}, []
    for name, text in texts.items():
        try:
            values[name] = from_text(TrainConfig, name, text)
            _check_known(name, values[name])
        except ConfigError as error:
            values.pop(name, None)
            wrong.append(str(error))
    return values, wrong


def _check_known(name: str, value: Any) -> None:
    """Raise UnknownName where a field names a row that its table has not; FAMILY:NAME is for the start to judge."""
    options = options_of(next(about for about in fields(TrainConfig) if about.name == name))
    if isinstance(options, Mapping):
        for one in value if isinstance(value, tuple) else (value,):
            if one is not None and ":" not in one:
                lookup(name, options, one)


def applied(config: TrainConfig, changes: Mapping[str, Any]) -> tuple[TrainConfig, list[str]]:
    """Return a config with changes, and what is wrong with those that it does not take."""
    try:
        return config.with_(**changes), []
    except ConfigError:
        wrong = []
        for name, value in changes.items():
            try:
                config = config.with_(**{name: value})
            except ConfigError as error:
                wrong.append(str(error))
        return config, wrong
