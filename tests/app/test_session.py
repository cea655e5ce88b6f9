"""Choices are kept from page to page and in the URL, and a link wins over what was kept."""

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
    return test.run()


def test_the_url_of_defaults_is_empty():
    test = opened()
    assert not test.exception
    assert not dict(test.query_params)
    assert test.number_input(key="kept-seed").value == 3


def test_a_changed_widget_is_in_the_url_and_leaves_it_at_its_default():
    test = opened()
    test.number_input(key="kept-seed").set_value(42).run()
    test.toggle(key="kept-borders").set_value(False).run()
    assert test.query_params["seed"] == "42"
    assert test.query_params["borders"] == "0"
    test.number_input(key="kept-seed").set_value(3).run()
    assert "seed" not in test.query_params


def test_a_link_sets_the_widgets():
    test = opened(seed="7", k="0.25", borders="0", kind="b")
    assert not test.exception
    assert test.number_input(key="kept-seed").value == 7
    assert test.slider(key="kept-k").value == 0.25
    assert test.toggle(key="kept-borders").value is False
    assert test.selectbox(key="kept-kind").value == "b"


def test_nonsense_in_a_link_is_dropped():
    test = opened(seed="1000", k="x", borders="perhaps", kind="<script>")
    assert not test.exception
    assert test.number_input(key="kept-seed").value == 3
    assert test.slider(key="kept-k").value == 0.5
    assert test.selectbox(key="kept-kind").value == "a"
    assert "seed" not in test.query_params


def test_a_choice_survives_the_way_to_another_page_and_back():
    test = opened()
    test.number_input(key="kept-seed").set_value(42).run()
    for page in ("second", "first"):
        test.session_state["wanted-page"] = page
        test.query_params.clear()  # as a click in the navigation does
        test.run()
        assert test.number_input(key="kept-seed").value == 42
        assert test.query_params["seed"] == "42"


def test_a_link_inside_a_session_wins_over_what_was_kept():
    test = opened()
    test.number_input(key="kept-seed").set_value(42).run()
    test.query_params["seed"] = "8"
    test.run()
    assert test.number_input(key="kept-seed").value == 8


def test_values_survive_being_written_into_a_url():
    for value, default in ((5, 0), (0.35, 0.5), (True, False), (False, True), ("S3", "mix")):
        assert parsed(written(value), default) == value
    assert parsed("", 4) == 4
    assert parsed("four", 4) == 4
