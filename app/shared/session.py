"""The choices of a visitor, kept from page to page in the session, and for reloads and links in the URL.

The URL wins where they differ. Streamlit's own ``bind="query-params"`` does not serve here: it writes the titles of
options, which links would break with, in place of their names.
"""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

import streamlit as st
from streamlit.navigation.page import StreamlitPage

KEPT = "kept"
PAGE = "page"
FIRST = "first"
"""The session's key of what is kept in the first run of a visit; then None."""
OWN = ("kept-", "picker-")
"""How the keys of widgets begin whose values are kept here."""


def enter(page: str) -> bool:
    """Note which page is shown, and return whether that is another one.

    On the way to another, widgets are forgotten, so that all of them follow the kept choices.

    Streamlit knows a widget of the page before by its key, but does not hand its value on to the one of this page.
    """
    if st.session_state.get(PAGE) == page:
        return False
    st.session_state[PAGE] = page
    for key in [key for key in st.session_state if str(key).startswith(OWN)]:
        del st.session_state[key]
    return True


def begin() -> None:
    """Begin the visit of a page: what is kept in its first run waits for `first_address`.

    Until that run is at its end, the browser may still show the address of the page before.
    """
    if st.session_state.get(FIRST) is None:
        st.session_state[FIRST] = {}


def first_address() -> tuple[str, str]:
    """Return, once in a visit, the query that the browser is to show, and the one in whose place; else two empty ones.

    If the browser shows another by then, the visitor has gone on, and closed a dialog, say: what is kept has to wait.
    """
    first, st.session_state[FIRST] = st.session_state.get(FIRST), None
    if not first:
        return "", ""
    before = st.query_params.to_dict()
    changed = {name: value for name, value in {**before, **first}.items() if value is not None}
    return urlencode(changed, doseq=True), urlencode(before, doseq=True)


def rewrite(query: Mapping[str, str | list[str]]) -> None:
    """Let the address ask for just this; it is written anew even if it is the same.

    A link from a page to itself leaves the browser's address as it is.
    """
    if (first := st.session_state.get(FIRST)) is not None:
        first |= dict.fromkeys(st.query_params) | dict(query)
    else:
        st.query_params.from_dict(query)


def choice(name: str, default: str = "") -> str:
    """Return a choice: the URL's, or else the one kept from another page, or else the default."""
    kept = st.session_state.setdefault(KEPT, {}).get(name)
    return st.query_params.get(name, kept) or default


def moved(name: str) -> bool:
    """Return whether the URL names another choice than the one kept: it was opened, not written by `keep`."""
    linked = st.query_params.get(name)
    return linked is not None and linked != st.session_state.setdefault(KEPT, {}).get(name)


def keep(name: str, value: str, always: bool = False) -> None:
    """Keep a choice for other pages and write it into the URL; an empty one is taken out of it.

    One that is ``always`` there, even if empty, is what it is wherever the way back leads to this address.
    """
    st.session_state.setdefault(KEPT, {})[name] = value
    if (first := st.session_state.get(FIRST)) is not None:
        first[name] = value if value or always else None
    elif not value and not always:
        st.query_params.pop(name, None)
    elif st.query_params.get(name) != value:
        st.query_params[name] = value


def choose(name: str, value: str) -> None:
    """Make a choice for the visitor; the widget that shows it follows. To be called before that widget is drawn."""
    st.session_state.pop(key_of(name), None)
    keep(name, value)


def follow(name: str, key: str, default: Any, allowed: Callable[[Any], bool]) -> None:
    """Give the widget ``key`` its value where it is new, where a link has changed it, or where it is not allowed.

    The value has the type of ``default``, which also stands in for a choice that is not allowed.
    """
    if key in st.session_state and not moved(name) and allowed(st.session_state[key]):
        return
    wanted = parsed(choice(name), default)
    st.session_state[key] = wanted if allowed(wanted) else default


def parsed(text: str, default: Any) -> Any:
    """Return the text of a URL as the type of ``default``, or the default where it is not one."""
    if not text:
        return default
    if isinstance(default, bool):
        return text == "1"
    try:
        return type(default)(text)
    except ValueError:
        return default


def written(value: Any) -> str:
    """Return a widget's value as the text of a URL: the inverse of `parsed`."""
    return str(int(value)) if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def remember(widget: Callable[..., Any], name: str, default: Any, label: str, *arguments: Any, **options: Any) -> Any:
    """Show a widget whose value is kept from page to page and in the URL (where it is not the default); return it.

    ``arguments`` and ``options`` are the widget's own; a number's are its least and largest value, a choice's first one
    its options, or their titles by option; a text has none.
    """
    if arguments and isinstance(arguments[0], Mapping):
        options = {"format_func": arguments[0].get} | options
        arguments = (list(arguments[0]), *arguments[1:])
    key = key_of(name)
    follow(name, key, default, _allowed(default, arguments, typed=options.get("accept_new_options", False)))
    value = widget(label, *arguments, key=key, **options)
    value = default if value is None else value.strip() if isinstance(value, str) else value
    keep(name, "" if value == default else written(value))
    return value


def switch(name: str, default: Any, label: str, options: Any, place: Any = st, **more: Any) -> Any:
    """Show some options side by side, of which one is always chosen; see `remember`.

    The label is only read aloud, unless ``label_visibility`` says otherwise.
    """
    shape = {"required": True, "label_visibility": "collapsed"} | more
    return remember(place.segmented_control, name, default, label, options, **shape)


def relabel(name: str) -> None:
    """Let the next `remember` of a choice show its label of now; the browser keeps the one that was chosen."""
    if (key := key_of(name)) in st.session_state:
        st.session_state[key] = st.session_state[key]


def key_of(name: str) -> str:
    """Return the session's key of the widget that `remember` shows."""
    return f"kept-{name}"


def _allowed(default: Any, arguments: tuple[Any, ...], typed: bool) -> Callable[[Any], bool]:
    if typed:
        return lambda value: isinstance(value, str) and bool(value)
    if isinstance(default, str) and not arguments:
        return lambda value: isinstance(value, str)
    if isinstance(default, bool):
        return lambda value: isinstance(value, bool)
    if isinstance(default, (int, float)) and isinstance(arguments[0], (int, float)):
        return lambda value: isinstance(value, (int, float)) and arguments[0] <= value <= arguments[1]
    return lambda value: value in arguments[0]


def page_of(name: str) -> StreamlitPage:
    """Return the page at a URL path, for links: Streamlit finds it by that path among those that `app.main` runs."""
    return st.Page(_run_by_main, title=name.capitalize(), url_path=name)


def _run_by_main() -> None:
    """Stand for a page in a link; it is never called."""
