"""The login page, shown first where Streamlit's secrets.toml has a section [auth]."""

import os
from collections.abc import Mapping
from typing import Any

import streamlit as st
from streamlit.auth_util import get_cookie_with_chunks
from streamlit.web.server.server_util import get_cookie_secret
from streamlit.web.server.starlette.starlette_app_utils import decode_signed_value
from streamlit.web.server.starlette.starlette_server_config import USER_COOKIE_NAME

from app.shared.access import LoginError, auth_section
from app.shared.components import part
from app.shared.errors import plain
from pmsi.base.files import parse_json

ALLOWED_EMAILS = "PMSI_ALLOWED_EMAILS"
"""Environment variable: the accounts that may log in, separated by commas; @example.org allows a whole domain."""

ACCOUNT_STYLE = """<style>
[data-testid=stLayoutWrapper]:has(>.st-key-account){position:absolute}
.st-key-account{position:fixed;top:.55rem;right:1rem;z-index:999991;width:auto}
.st-key-account button p{max-width:11rem;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
@media (max-width:640px){.st-key-account [data-testid=stPopoverButton] p{position:absolute;clip-path:inset(50%)}}
</style>"""
"""Puts the account into Streamlit's own head, where a page has no place; on a phone only its icon is seen."""


def require_login() -> None:
    """Show the login instead of the page to a visitor who is not logged in; do nothing where there is no login.

    Who is let in sees on every page as whom, and finds the way out there.
    """
    auth, allowed = _rules()
    if not auth:
        return
    if not st.user.is_logged_in:
        _login_page([name for name, value in auth.items() if isinstance(value, Mapping)])
        st.stop()
    user = st.user.to_dict()
    if allowed and not _is_allowed(user, allowed):
        _refusal(user)
        st.stop()
    _account(user)


def _rules() -> tuple[Mapping[str, Any], list[str]]:
    """Return the section [auth], empty where there is no login, and who may come in, empty for everybody."""
    auth = auth_section()
    allowed = [entry.strip().lower() for entry in os.environ.get(ALLOWED_EMAILS, "").split(",") if entry.strip()]
    if allowed and not auth:
        raise LoginError(
            f"{ALLOWED_EMAILS} is set, but no login: there is no [auth] section in Streamlit's secrets.toml, so "
            "nobody can be let in. See docs/deploying.md."
        )
    return auth, allowed


def admitted(cookies: Mapping[str, str]) -> bool:
    """Return whether `require_login` would let in the visitor whose browser sends these cookies."""
    try:
        auth, allowed = _rules()
    except LoginError:
        return False
    user = _logged_in(cookies) if auth else {}
    return not auth or bool(user.get("is_logged_in") and (not allowed or _is_allowed(user, allowed)))


def _logged_in(cookies: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the account in the cookie that Streamlit signed at the login; nothing where there is none."""

    def signed(name: str) -> bytes | None:
        value = cookies.get(name)
        return decode_signed_value(get_cookie_secret(), name, value.encode("latin-1")) if value else None

    content = get_cookie_with_chunks(signed, USER_COOKIE_NAME)
    user = parse_json(content) if content else {}
    return user if isinstance(user, dict) else {}


def _login_page(providers: list[str]) -> None:
    """Offer the login; afterwards the address that was asked for is opened."""
    with st.container(horizontal_alignment="center"), st.container(width=440, border=True):
        st.title("PMSI Lab", anchor=False)
        st.write("This lab is for those who have an account. Log in, and the page that you asked for opens.")
        for name in providers:
            label = f"Log in with {name.capitalize()}"
            st.button(label, icon=":material/login:", on_click=st.login, args=(name,), width="stretch")
        if not providers:
            st.button("Log in", type="primary", icon=":material/login:", on_click=st.login, width="stretch")
    _way_back(waits=True)


def _refusal(user: Mapping[str, Any]) -> None:
    with st.container(horizontal_alignment="center"), st.container(width=440, border=True):
        st.title("Not open to this account", anchor=False)
        st.write(
            f"You are logged in as {plain(_named(user))}, but this app is for others. Ask who runs it, or log in "
            "with another account."
        )
        st.button("Log out", icon=":material/logout:", on_click=st.logout)


def _account(user: Mapping[str, Any]) -> None:
    """Show the account that is logged in, in the page's head, with a button to log out."""
    st.html(ACCOUNT_STYLE)
    with st.container(key="account", width="content"):
        with st.popover(plain(_named(user)), icon=":material/account_circle:", type="tertiary", width="content"):
            st.markdown(f"Logged in as **{plain(_named(user))}**")
            if user.get("email"):
                st.text(str(user["email"]))
            st.button("Log out", icon=":material/logout:", on_click=st.logout, width="stretch")
        _way_back(waits=False)


def _named(user: Mapping[str, Any]) -> str:
    """Return what to call an account."""
    return next((str(user[key]) for key in ("name", "email", "sub") if user.get(key)), "somebody")


def _way_back(waits: bool) -> None:
    """Let the browser keep the address that was asked for, or open the one that it has kept."""
    part("way_back")(key="way-back", data={"waits": waits})


def _is_allowed(user: Mapping[str, Any], allowed: list[str]) -> bool:
    """Return whether an account is on the list; an address that its provider has not verified counts for nothing."""
    email = str(user.get("email") or "").lower()
    if not email or str(user.get("email_verified", True)).lower() == "false":
        return False
    return any(email == entry or (entry.startswith("@") and email.endswith(entry)) for entry in allowed)
