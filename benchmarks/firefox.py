"""A page for phones in Firefox: from a file, damaged, and from a server that then goes; in both themes.

    python -m benchmarks.firefox bird.html bird.zip PHOTO… --shots shots

Drives Debian's `firefox-esr` by WebDriver BiDi. What it answers is compared by `python -m benchmarks.parity`.
"""

import argparse
import base64
import http.server
import json
import re
import subprocess
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

PROGRAM = "firefox-esr"
WAIT_S, WIDTHS = 900, (390, 1440)
READY = "document.body.dataset.ready === 'yes'"
STATUS, ANSWERED = "document.getElementById('status')", "document.getElementById('counted').textContent"
DARK = {"light": 1, "dark": 0}
"""Theme → Firefox's setting of `prefers-color-scheme` for pages."""


class Firefox:
    """One window of a headless Firefox."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket, self.numbers = socket, count(1)
        self.ask("session.new", capabilities={})
        self.context = self.ask("browsingContext.getTree")["contexts"][0]["context"]

    def ask(self, method: str, **params: Any) -> Any:
        """Carry out a command, and return its result."""
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while (said := json.loads(self.socket.recv(WAIT_S))).get("id") != number:
            pass
        if said["type"] == "error":
            raise RuntimeError(f"{method}: {said['message']}")
        return said["result"]

    def open(self, address: str) -> None:
        self.ask("browsingContext.navigate", context=self.context, url=address, wait="complete")

    def value(self, expression: str) -> Any:
        """Return what a script's expression is, awaited, by way of JSON."""
        text = f"Promise.resolve({expression}).then((value) => JSON.stringify(value ?? null))"
        said = self.ask("script.evaluate", expression=text, target={"context": self.context}, awaitPromise=True)
        if said["type"] == "exception":
            raise RuntimeError(said["exceptionDetails"]["text"])
        return json.loads(said["result"]["value"])

    def until(self, question: str) -> None:
        end = time.monotonic() + WAIT_S
        while not self.value(question):
            if time.monotonic() > end:
                raise TimeoutError(f"{question}: {self.value(f'{STATUS}.textContent')}")
            time.sleep(0.1)

    def give(self, selector: str, files: Sequence[Path]) -> None:
        """Choose files for an input."""
        found = self.ask(
            "browsingContext.locateNodes", context=self.context, locator={"type": "css", "value": selector}
        )
        element = {"sharedId": found["nodes"][0]["sharedId"]}
        self.ask(
            "input.setFiles", context=self.context, element=element, files=[str(file.absolute()) for file in files]
        )

    def shot(self, path: Path, width: int) -> None:
        """Write a picture of the whole page at a width."""
        self.ask("browsingContext.setViewport", context=self.context, viewport={"width": width, "height": 900})
        found = self.ask("browsingContext.captureScreenshot", context=self.context, origin="document")
        path.write_bytes(base64.b64decode(found["data"]))


@contextmanager
def firefox(theme: str = "light") -> Iterator[Firefox]:
    """Yield a Firefox with an empty profile; it ends with the body."""
    with tempfile.TemporaryDirectory() as profile:
        Path(profile, "user.js").write_text(
            f'user_pref("layout.css.prefers-color-scheme.content-override", {DARK[theme]});\n'
        )
        line = [PROGRAM, "--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0"]
        with subprocess.Popen(line, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
            assert process.stderr is not None
            address = next(
                found[1] for line in process.stderr if (found := re.search(r"listening on (ws://\S+)", line))
            )
            threading.Thread(target=process.stderr.read, daemon=True).start()
            try:
                with connect(f"{address}/session", max_size=None, open_timeout=WAIT_S, ping_interval=None) as socket:
                    yield Firefox(socket)
            finally:
                process.terminate()


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Yield the address of a folder's files while the body runs."""
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def main() -> None:
    """Parse the flags, open the page in each way, and print what is seen."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("site", type=Path)
    parser.add_argument("photo", type=Path, nargs="+")
    parser.add_argument("--shots", type=Path, help="Folder for pictures of the page.")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for theme in DARK:
            with firefox(theme) as window:
                window.open(flags.page.absolute().as_uri())
                window.until(READY)
                answer(window, flags.photo)
                said = window.value(
                    "[document.getElementById('best').textContent, getComputedStyle(document.body).color]"
                )
                print(f"from a file, {theme}: {said}", flush=True)
                for width in WIDTHS if flags.shots else ():
                    window.shot(flags.shots / f"firefox-{theme}-{width}.png", width)
                if theme == "light":
                    damaged(window, flags.page.read_bytes(), place)
                    site(window, flags.site, flags.photo, place / "site")


def answer(window: Firefox, photos: Sequence[Path]) -> None:
    """Give the page photos, and wait until it has answered all of them."""
    window.give("#file", photos)
    window.until(f"{ANSWERED} === '{len(photos)} photos'" if len(photos) > 1 else "!!lab.state.answer")


def damaged(window: Firefox, whole: bytes, folder: Path) -> None:
    """Open a page that was cut off, and one whose model was changed."""
    middle = whole.index(b'id="model">') + 2000
    for name, data in {
        "cut": whole[: len(whole) // 2],
        "changed": whole[:middle] + b"0" * 9 + whole[middle + 9 :],
    }.items():
        (folder / "bird.html").write_bytes(data)
        window.open((folder / "bird.html").as_uri())
        window.until(f"{STATUS}.className === 'problem'")
        print(f"{name}: {window.value(f'{STATUS}.textContent')}", flush=True)


def site(window: Firefox, archive: Path, photos: Sequence[Path], folder: Path) -> None:
    """Open a site from a server, and again once the server is gone."""
    with zipfile.ZipFile(archive) as files:
        files.extractall(folder)
    with served(folder) as address:
        window.open(address)
        window.until(READY)
        window.until("navigator.serviceWorker.ready.then(() => caches.keys()).then((names) => names.length === 1)")
    window.open(address)
    window.until(READY)
    answer(window, photos)
    said = window.value("[document.getElementById('best').textContent, self.crossOriginIsolated]")
    print(f"the server is gone; answer, threads: {said}", flush=True)


if __name__ == "__main__":
    main()
