"""The server process: it loads what the pages need, then listens, and answers /_stcore/health.

Start it with ``python app/server.py --port 8501`` or `pmsi app`. Other options of Streamlit come from
``.streamlit/config.toml`` beside this file, or from the environment (``STREAMLIT_SERVER_ADDRESS``,
``STREAMLIT_SERVER_BASE_URL_PATH``, …).
"""

import argparse
import asyncio
import gc
import importlib
import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
if str(HERE.parent) not in sys.path:  # started as a program, only this folder is
    sys.path.insert(0, str(HERE.parent))

import streamlit as st  # noqa: E402
from starlette.middleware import Middleware  # noqa: E402

from app.guard import Guard  # noqa: E402
from app.moved import Moved  # noqa: E402
from app.phone import ROUTES  # noqa: E402
from app.shared.access import LARGEST_UPLOAD, address, allowed_hosts, read_only  # noqa: E402
from app.shared.background import BACKGROUND  # noqa: E402
from app.shared.memory import ANSWERS, budget, loaded, share_heaps, tidy  # noqa: E402
from pmsi.base.errors import ConfigError  # noqa: E402

DEFAULT_PORT = 8501
LARGEST_MESSAGE = 1
"""Megabytes of what a page tells the server at once: the values of its widgets."""
TIDY_EVERY_S = 20
LINE = "PMSI Lab: open {url}"
MODULES = (
    "pandas",  # plotly takes it as it finds it, also half imported by another visitor's page
    "plotly.graph_objects",
    "pmsi.pictures.mosaics",
    "pmsi.pictures.overlays",
    "pmsi.data",
    "pmsi.runs.jobs",
    "pmsi.model",
    "pmsi.engine.checkpoint",
    "pmsi.predictor",
    "pmsi.perturbations",
    "pmsi.robustness.page",
    *(f"app.views.{place.parent.name}.page" for place in (HERE / "views").glob("*/page.py")),
)
"""What pages import."""


def load() -> None:
    """Import what the pages import, and use the slow parts once: one drawing, its mosaics, their encoding.

    Torch gets one thread: visitors share few cores, and on a busy machine with two, four mosaics took 40 ms of CPU time
    with two threads and 7 ms with one. Jobs are processes of their own and keep theirs.
    """
    for name in MODULES:
        importlib.import_module(name)
    import torch

    torch.set_num_threads(1)
    from app.views.mosaic.strip import DEPTH, PERMUTATIONS, SEEDS, SIDE, layouts_once
    from pmsi.config import TrainConfig
    from pmsi.data import open_dataset
    from pmsi.pictures.encoding import jpeg
    from pmsi.pictures.mosaics import mosaics, square

    for permutation in PERMUTATIONS:
        layouts_once(SEEDS, DEPTH, permutation)
    data = open_dataset(TrainConfig(dataset="plumage"))  # not the cached one, whose spinner needs a page
    for picture in mosaics(square(data.open_image(data.test[0]), SIDE)):
        jpeg(picture)


def warm_up() -> None:
    """Load what the pages need, and take it out of the garbage collector's sight.

    A full collection holds the interpreter for 0.3 s with torch in sight, and for some 20 ms without.
    """
    share_heaps()
    load()
    gc.collect()
    gc.freeze()
    loaded()


@asynccontextmanager
async def lifespan(_app: "st.App") -> AsyncIterator[None]:
    """Warm up before the first connection is accepted, so that a healthy server is a fast one."""
    warm_up()
    attend_queue()
    path = "/".join(["", *filter(None, str(st.get_option("server.baseUrlPath")).split("/"))])
    print(LINE.format(url=f"http://localhost:{st.get_option('server.port')}{path}"), flush=True)
    tidying = asyncio.create_task(keep_tidy())
    yield
    tidying.cancel()
    BACKGROUND.close()


def attend_queue() -> None:
    """Start what works on the runs that are queued: after a reboot, or a kill, nobody else does."""
    from app.shared.access import read_only
    from pmsi.runs import default_root, jobs

    if not read_only():
        try:
            jobs.attend(default_root())
        except OSError as error:
            print(f"The queue of {default_root()} cannot be worked off: {error}", file=sys.stderr, flush=True)


async def keep_tidy() -> None:
    """Tidy up now and then, instead of after each run of a script as Streamlit would (config.toml)."""
    while True:
        await asyncio.sleep(TIDY_EVERY_S)
        await asyncio.to_thread(tidy)


def on_script_error(error: Exception) -> bool:
    """Show the app's own panel instead of Streamlit's; the traceback is in the server's log already."""
    from app.shared.errors import error_panel

    error_panel(error)
    return True


PASSED_ON: dict[str, tuple[str, type]] = {
    "STREAMLIT_SERVER_BASE_URL_PATH": ("server.baseUrlPath", str),
    "STREAMLIT_SERVER_MAX_UPLOAD_SIZE": ("server.maxUploadSize", int),
}
"""Environment that is handed to Streamlit as options, since only its own command line reads it."""


def options() -> dict[str, Any]:
    """Return what the environment says about the server; a read-only one takes no zips, so small uploads will do."""
    found: dict[str, Any] = {"server.address": address(), "server.allowedHosts": allowed_hosts()}
    found |= {"server.maxWidgetStateSize": LARGEST_MESSAGE, "server.maxCacheDataSize": f"{int(ANSWERS * budget())}b"}
    found |= {"server.maxUploadSize": LARGEST_UPLOAD} if read_only() else {}
    return found | {name: kind(os.environ[key]) for key, (name, kind) in PASSED_ON.items() if os.environ.get(key)}


app = st.App(
    HERE / "main.py",
    routes=ROUTES,
    lifespan=lifespan,
    on_script_error=on_script_error,
    middleware=[Middleware(Guard), Middleware(Moved)],
)


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(description="Serve the PMSI Lab app.")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help=f"Port, by default {DEFAULT_PORT}.")
    parser.add_argument("--runs", type=Path, help="Runs folder, by default the environment's PMSI_RUNS or ./runs.")
    arguments = parser.parse_args()
    if arguments.runs is not None:
        os.environ["PMSI_RUNS"] = str(arguments.runs.resolve())
    sys.argv[1:] = []
    try:
        found = options()
    except ConfigError as error:
        sys.exit(f"pmsi: {error}")
    # A login is looked for in the secrets, for which Streamlit has read its config; it would warn of the options below.
    logging.getLogger("streamlit.config").addFilter(lambda record: False)
    app.run(config={"server.port": arguments.port, **found})


if __name__ == "__main__":
    main()
