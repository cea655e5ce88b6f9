"""Choices are kept from page to page and in the URL, and a link wins over what was kept."""

from pages import sound
from streamlit.testing.v1 import AppTest

from app.shared.session import parsed, written

SCRIPT = """
import streamlit as st

from app.shared import session

session.enter(st.session_state.get("wanted-page", "first"))
session.remember(st.number_input, "seed", 3, "Seed", 0, 99)
session.remember(st.slider, "k", 0.5, "k", 0.0, 1.0)
session.remember(st.toggle, "borders", True, "Borders")
session.remember(st.selectbox, "kind", "a", "Kind", ["a", "b"])
"""


def opened(**query):
    test = AppTest.from_string(SCRIPT)
    for key, value in query.items():
        test.query_params[key] = value
    return sound(test.run())


def values(test):
    kinds = {"seed": "number_input", "k": "slider", "borders": "toggle", "kind": "selectbox"}
    return [getattr(test, kind)(key=f"kept-{name}").value for name, kind in kinds.items()]


def test_what_differs_from_its_default_is_in_the_url():
    test = opened()
    assert not dict(test.query_params)
    assert values(test) == [3, 0.5, True, "a"]
    test.number_input(key="kept-seed").set_value(42).run()
    test.toggle(key="kept-borders").set_value(False).run()
    assert test.query_params["seed"] == "42"
    assert test.query_params["borders"] == "0"
    test.number_input(key="kept-seed").set_value(3).run()
    assert "seed" not in test.query_params


def test_a_link_sets_the_widgets_and_its_nonsense_is_dropped():
    assert values(opened(seed="7", k="0.25", borders="0", kind="b")) == [7, 0.25, False, "b"]
    test = opened(seed="1000", k="x", kind="<script>")
    assert values(test) == [3, 0.5, True, "a"]
    assert "seed" not in test.query_params


def test_a_choice_survives_the_way_to_another_page_and_back_and_a_link_wins_over_it():
    test = opened()
    test.number_input(key="kept-seed").set_value(42).run()
    for page in ("second", "first"):
        test.session_state["wanted-page"] = page
        test.query_params.clear()  # as a click in the navigation does
        test.run()
        assert values(test)[0] == 42
        assert test.query_params["seed"] == "42"
    test.query_params["seed"] = "8"
    assert values(test.run())[0] == 8


def test_values_survive_being_written_into_a_url():
    for value, default in ((5, 0), (0.35, 0.5), (True, False), (False, True), ("S3", "mix")):
        assert parsed(written(value), default) == value
    assert parsed("", 4) == parsed("four", 4) == 4


def test_what_is_kept_in_the_first_run_of_a_visit_is_handed_to_the_browser_once():
    script = (
        SCRIPT.replace('"first"))', '"first")) and session.begin()') + "st.text('|'.join(session.first_address()))\n"
    )
    test = sound(AppTest.from_string(script).run())
    assert test.text[0].value == "|"
    test.number_input(key="kept-seed").set_value(42).run()
    assert test.query_params["seed"] == "42"
    test.session_state["wanted-page"] = "second"
    test.query_params.clear()
    test.query_params["k"] = "0.25"
    assert sound(test.run()).text[0].value == "k=0.25&seed=42|k=0.25"
    assert "seed" not in test.query_params
    assert test.run().text[0].value == "|"
