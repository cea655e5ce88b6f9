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

from pmsi.base.errors import PMSIError
from pmsi.base.files import expanded
from pmsi.config import WEIGHT_WORDS
from pmsi.config.declare import Config
from pmsi.data.cache.zips import zips_folder
from pmsi.data.importing import datasets_root
from pmsi.runs import default_root, known_runs
from pmsi.runs.run import SHIPPED

READ_ONLY = "PMSI_READ_ONLY"
"""Environment: 1 where visitors may only look."""

DATA = "PMSI_DATA"
"""Environment: the folders whose data sets and weights visitors may use, parted as in PATH."""

LARGEST_UPLOAD = 25
"""Megabytes of a picture that is uploaded, as the browser tells; `pmsi.data.images.check_file_size` sees to it."""

ADDRESS, BASE_PATH = "STREAMLIT_SERVER_ADDRESS", "STREAMLIT_SERVER_BASE_URL_PATH"
HOSTS = "STREAMLIT_SERVER_ALLOWED_HOSTS"
"""Environment: the names, parted by commas, under which a proxy serves the app."""

LOCAL = ("localhost", "127.0.0.1", "::1")
"""Names under which a browser on this machine finds the app."""


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
        real = expanded(path).resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise PlaceError(
            f"{str(path)!r} is not a path. Expected the full path of a folder, such as /data/birds."
        ) from error
    if any(real.is_relative_to(place) for places in (_roots(), _used_by_runs()) for place in places):
        return real
    raise PlaceError(
        f"{str(path)!r} is outside the folders that this app may read. Who runs the app can allow a folder by "
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


def starting_places() -> list[Path]:
    """Return the folders that are there in which visitors may begin to look for their data."""
    named = [*map(expanded, os.environ.get(DATA, "").split(os.pathsep))] if os.environ.get(DATA) else []
    own = named or ([Path.home(), Path.cwd()] if is_private() else [])
    return list(dict.fromkeys(place.resolve() for place in (*own, datasets_root()) if place.is_dir()))


def check_places(config: Config) -> None:
    """Raise PlaceError where a config names a data folder or a weights file that visitors may not use."""
    data, weights = getattr(config, "data", None), getattr(config, "weights", None)
    for place in (data, None if weights in WEIGHT_WORDS else weights):
        if place:
            check_place(place)


def address() -> str:
    """Return the address to listen on. By default, and where it is empty, this machine's own."""
    return os.environ.get(ADDRESS, "").strip() or "127.0.0.1"


def is_private() -> bool:
    """Return whether only the person at this machine is expected: nobody else can reach the app, as far as is known.

    An address that is not clearly this machine's own is public. A proxy shows by its base path, by the name that it is
    reached by (`allowed_hosts`), or by the login.
    """
    if read_only() or os.environ.get(BASE_PATH, "").strip("/") or _proxy_hosts() or auth_section():
        return False
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(address()).is_loopback
    return address() == "localhost"


def allowed_hosts() -> list[str]:
    """Return the names in an address that the app answers to; none where it answers to all.

    A private app answers to this machine's own names only. Else a web page of another site, whose name is made to
    resolve to this machine (DNS rebinding), could read it through a visitor's browser.
    """
    with contextlib.suppress(LoginError):  # its page says so
        return [*LOCAL, *_proxy_hosts()] if _proxy_hosts() or is_private() else []
    return []


def _proxy_hosts() -> list[str]:
    named = (host.strip() for host in os.environ.get(HOSTS, "").split(","))
    return [host for host in named if host and host not in LOCAL]


def _roots() -> Iterator[Path]:
    """Yield the folders that visitors may read, resolved."""
    yield from (place.resolve() for place in (default_root(), SHIPPED, datasets_root(), zips_folder()))
    if own := os.environ.get(DATA):
        yield from (expanded(place).resolve() for place in own.split(os.pathsep) if place)
    elif is_private():  # the person at the machine, who may open any folder
        yield Path(Path.cwd().anchor)


def _used_by_runs() -> Iterator[Path]:
    """Yield the data folders and weights files of the runs that are there: each was checked when its run was started.

    Looked at only where no folder of `_roots` holds a path. The command line checks nothing, for who can type there can
    read the files anyway.
    """
    for run in known_runs(default_root()):
        with contextlib.suppress(PMSIError, OSError):
            for name in ("data", "weights"):
                value = getattr(run.config, name, None)
                if value and os.sep in value:
                    yield expanded(value).resolve()


# Coming in


def auth_section() -> Mapping[str, Any]:
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


class ReadOnlyError(PMSIError):
    """Something was to be written in a read-only app."""
