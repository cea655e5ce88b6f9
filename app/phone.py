"""/phone/RUN/: a run's page for phones under the app, made when it is first asked for and kept in the cache."""

import gzip
import hashlib
import html
import zipfile
from functools import partial
from pathlib import Path

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from streamlit import config

from app.login import admitted
from app.shared.background import BACKGROUND, Progress
from app.shared.cached_models import has_model, model_of
from pmsi import __version__
from pmsi.base.errors import PMSIError
from pmsi.base.files import stamp, write_atomically
from pmsi.base.locks import locked
from pmsi.base.text import duration, plural
from pmsi.data.cache.clear import PHONE, page_entries
from pmsi.data.cache.disk import make_room
from pmsi.data.checking import cache_folder
from pmsi.runs import Run, default_root

INDEX = "index.html"
KINDS = {".webmanifest": "application/manifest+json"}
"""Media types that Python does not know."""

HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",  # both for threads
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}

KEPT_BYTES = 10**9
"""Limit of all pages together; the longest unused go first."""

WAITING = """<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="3">
<meta name="viewport" content="width=device-width"><title>A page for {id}</title>
<style>body{{font:1.1rem system-ui;margin:15vh auto;max-width:30rem;padding:0 1rem;color-scheme:light dark}}</style>
<p role="status">The page of <b>{id}</b> is being made; then it opens by itself, at once from the second time on.</p>
<progress aria-label="Done" max="100" value="{done}" style="width:100%"></progress><p>{step}</p></html>"""


def address_of(run: Run) -> str:
    """Return where a run's page is on this server."""
    return f"{_base()}/phone/{run.id}/"


def _base() -> str:
    return "/".join(["", *filter(None, str(config.get_option("server.baseUrlPath")).split("/"))])


async def phone(request: Request) -> Response:
    """Answer with a file of a run's page, or with what keeps it from being there."""
    given = request.path_params
    if given.get("below", "").strip("/") != _base().strip("/"):
        return PlainTextResponse("Not found.", 404)
    if not await to_thread.run_sync(admitted, request.cookies):
        return RedirectResponse(f"{_base()}/", 303)
    if "name" not in given:
        return RedirectResponse(f"{request.url.path}/", 308)
    try:
        return await to_thread.run_sync(_answer, given["run"], given["name"] or INDEX)
    except PMSIError as error:
        return PlainTextResponse(str(error), 404)


ROUTES = [
    Route(f"{below}/phone/{{run}}{end}", phone)
    for below in ("", "/{below:path}")
    for end in ("", "/{name:path}")
]  # fmt: skip


def _answer(id: str, name: str) -> Response:
    run = Run.open(default_root(), id)
    if run.id != id or not has_model(run):
        return PlainTextResponse("Not found.", 404)
    folder = _folder_of(run)
    if not (folder / INDEX).exists():
        return _coming(run, folder)
    path = folder / name
    if name not in {each.name for each in folder.iterdir()}:
        return PlainTextResponse("Not found.", 404)
    packed = {"Content-Encoding": "gzip"} if name == INDEX else {}
    return FileResponse(path, headers=HEADERS | packed, media_type=KINDS.get(path.suffix))


def _folder_of(run: Run) -> Path:
    """Return the folder of a run's page; another one where the model or what the page says of it is another."""
    about = (__version__, model_of(run), *(stamp(run.folder / name) for name in ("labels.json", "predictions.json")))
    return cache_folder() / PHONE / hashlib.blake2b(repr(about).encode(), digest_size=16).hexdigest()


def _coming(run: Run, folder: Path) -> Response:
    """Have the page made, and say so, or why it cannot be."""
    archive = folder.with_suffix(".zip")
    words = ["pmsi", "export", run.id, "--runs", str(default_root()), "--out", str(archive)]
    said = BACKGROUND.ask(folder, words, partial(_unpack, archive, folder), urgent=True)
    if said is not None:  # it failed, or was removed since: asked for again, it is made anew
        BACKGROUND.forget(folder)
    if said:
        return PlainTextResponse(said, 404)
    step, done = _step(BACKGROUND.progress(folder))
    page = WAITING.format(id=html.escape(run.id), step=html.escape(step), done=done)
    return HTMLResponse(page, 202, {"Cache-Control": "no-store"})


def _step(progress: Progress) -> tuple[str, int]:
    """Return in words how far a page is, and per cent."""
    if progress.before:
        return f"It waits for {plural(progress.before, 'other piece')} of work.", 0
    if progress.step is None:
        return "It begins. On a quiet machine it takes about a minute.", 0
    left = f" · about {duration(progress.seconds_left)} more" if (progress.seconds_left or 0) >= 1 else ""
    return f"{progress.step.name}{left}", progress.step.done


def _unpack(archive: Path, folder: Path) -> None:
    """Lay the files of a site into a folder, the page itself last and packed."""
    with zipfile.ZipFile(archive) as site, locked(folder.parent / "lock"):
        make_room(page_entries(folder.parent), lambda taken: taken <= KEPT_BYTES)
        folder.mkdir(exist_ok=True)
        for name in sorted(site.namelist(), key=INDEX.__eq__):
            data = site.read(name)
            write_atomically(folder / name, gzip.compress(data, 6) if name == INDEX else data)
    archive.unlink()
