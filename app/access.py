"""Who may come in, what visitors may do, and which folders the app may read.

``PMSI_READ_ONLY=1`` makes the app read-only: pages show and compute, but nothing is started, stopped, renamed, deleted,
imported or otherwise written. Pages ask `read_only` before they offer such a thing, and whatever does it calls
`require_writable` first. A path that a visitor types, or that stands in a link, goes through `check_place` before
anything is looked at there. Where a login is set up (``[auth]`` in Streamlit's secrets.toml), `require_login` comes
before any page.
"""

import contextlib
import ipaddress
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.auth_util import is_authlib_installed

from pmsi.config import WEIGHT_WORDS
from pmsi.errors import PMSIError
from pmsi.settings import Config

READ_ONLY = "PMSI_READ_ONLY"
"""Environment: 1 where visitors may only look."""

DATA = "PMSI_DATA"
"""Environment: the folders whose data sets and weights visitors may use, parted as in PATH."""

ALLOWED_EMAILS = "PMSI_ALLOWED_EMAILS"
"""Environment: who may log in, parted by commas; an entry such as @example.org allows all of a domain."""

ADDRESS, BASE_PATH = "STREAMLIT_SERVER_ADDRESS", "STREAMLIT_SERVER_BASE_URL_PATH"

ACCOUNT_STYLE = """<style>
[data-testid=stLayoutWrapper]:has(>.st-key-account){position:absolute}
.st-key-account{position:fixed;top:.55rem;right:1rem;z-index:999991;width:auto}
.st-key-account button p{max-width:11rem;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
@media (max-width:640px){.st-key-account [data-testid=stPopoverButton] p{position:absolute;clip-path:inset(50%)}}
</style>"""
"""Puts the account into Streamlit's own head, where a page has no place; on a phone only its icon is seen."""


class ReadOnlyError(PMSIError):
    """Something was to be written in a read-only app."""


class PlaceError(PMSIError):
    """A path outside the folders that the app may read."""


class LoginError(PMSIError):
    """The login is not set up as it should be."""


# Writing


def read_only() -> bool:
    """Return whether visitors may only look."""
    return os.environ.get(READ_ONLY, "") not in ("", "0")


def require_writable() -> None:
    """Raise ReadOnlyError in a read-only app."""
    if read_only():
        raise ReadOnlyError(
            "This app is read-only: nothing can be started or changed here. Run it on your own machine for that."
        )


# Reading


def check_place(path: str | Path) -> Path:
    """Return where a path really leads, if visitors may use what is there; raises PlaceError if not.

    Links and ``..`` are followed first. The error is the same whether there is something or not.
    """
    try:
        real = Path(path).expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise PlaceError(
            f"{str(path)!r} is not a path. Expected the full path of a folder, such as /data/birds."
        ) from error
    if any(real.is_relative_to(place) for places in (_roots(), _used_by_runs()) for place in places):
        return real
    raise PlaceError(
        f"{str(path)!r} is outside the folders that this app may read. Whoever runs the app can allow a folder by "
        f"starting it with {DATA} set to it (several are parted by a colon, as in PATH), or import the pictures with "
        "pmsi data import."
    )


def may_read(path: str | Path) -> bool:
    """Return whether visitors may use what a path really leads to."""
    try:
        check_place(path)
    except PlaceError:
        return False
    return True


def check_places(config: Config) -> None:
    """Raise PlaceError where a config names a data folder or a weights file that visitors may not use."""
    data, weights = getattr(config, "data", None), getattr(config, "weights", None)
    for place in (data, None if weights in WEIGHT_WORDS else weights):
        if place:
            check_place(place)


def is_private() -> bool:
    """Return whether only the person at this machine is expected: nobody else can reach the app, as far as is known.

    A proxy in front of it shows by its base path, or by the login. One without either shows by nothing: set PMSI_DATA.
    """
    if read_only() or os.environ.get(BASE_PATH, "").strip("/") or _auth():
        return False
    address = os.environ.get(ADDRESS, "") or "127.0.0.1"
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(address).is_loopback
    return address == "localhost"


def _roots() -> Iterator[Path]:
    """Yield the folders that visitors may read, resolved."""
    from pmsi.data.checking import cache_folder
    from pmsi.data.importing import datasets_root
    from pmsi.runs import SHIPPED, default_root

    yield from (place.resolve() for place in (default_root(), SHIPPED, datasets_root(), cache_folder() / "zips"))
    if own := os.environ.get(DATA):
        yield from (Path(place).expanduser().resolve() for place in own.split(os.pathsep) if place)
    elif is_private():
        yield from (Path.home().resolve(), Path.cwd().resolve())


def _used_by_runs() -> Iterator[Path]:
    """Yield the data folders and weights files of the runs that are there: each was checked when its run was started.

    Looked at only where no folder of `_roots` holds a path. The command line checks nothing, for who can type there can
    read the files anyway.
    """
    from pmsi.runs import default_root, known_runs

    for run in known_runs(default_root()):
        with contextlib.suppress(PMSIError, OSError):
            for name in ("data", "weights"):
                value = getattr(run.config, name, None)
                if value and os.sep in value:
                    yield Path(value).expanduser().resolve()


# Coming in


def require_login() -> None:
    """Show the login instead of the page to whoever is not let in; nothing where there is no login.

    Who is let in sees on every page as whom, and finds the way out there.
    """
    auth = _auth()
    allowed = [entry.strip().lower() for entry in os.environ.get(ALLOWED_EMAILS, "").split(",") if entry.strip()]
    if not auth:
        if allowed:
            raise LoginError(
                f"{ALLOWED_EMAILS} is set, but no login: there is no [auth] section in Streamlit's secrets.toml, so "
                "nobody can be let in. See docs/deploying.md."
            )
        return
    if not st.user.is_logged_in:
        _login_page([name for name, value in auth.items() if isinstance(value, Mapping)])
        st.stop()
    user = st.user.to_dict()
    if allowed and not _is_allowed(user, allowed):
        _refusal(user)
        st.stop()
    _account(user)


def _auth() -> Mapping[str, Any]:
    """Return the section [auth] of Streamlit's secrets; nothing where there is none. A broken file lets nobody in."""
    if not st.secrets.load_if_toml_exists():
        if any(Path(file).exists() for file in st.get_option("secrets.files")):
            raise LoginError("Streamlit's secrets.toml cannot be read, so nobody can be let in.")
        return {}
    found = st.secrets.get("auth")
    if found is not None and not isinstance(found, Mapping):
        raise LoginError("[auth] in Streamlit's secrets.toml is no section, so nobody can be let in.")
    if found and not is_authlib_installed():
        raise LoginError(
            "A login is set up, but the package that it needs is missing, so nobody can be let in. Install it with "
            "pip install Authlib httpx, and start the app again."
        )
    return found or {}


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
    from app.panels import plain

    with st.container(horizontal_alignment="center"), st.container(width=440, border=True):
        st.title("Not open to this account", anchor=False)
        st.write(
            f"You are logged in as {plain(_named(user))}, but this app is for others. Ask whoever runs it, or log in "
            "with another account."
        )
        st.button("Log out", icon=":material/logout:", on_click=st.logout)


def _account(user: Mapping[str, Any]) -> None:
    """Show in the page's head who is logged in, with the way out."""
    from app.panels import plain

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
    from app.resources import part

    part("way_back")(key="way-back", data={"waits": waits})


def _is_allowed(user: Mapping[str, Any], allowed: list[str]) -> bool:
    """Return whether an account is on the list; an address that its provider has not verified counts for nothing."""
    email = str(user.get("email") or "").lower()
    if not email or str(user.get("email_verified", True)).lower() == "false":
        return False
    return any(email == entry or (entry.startswith("@") and email.endswith(entry)) for entry in allowed)
