"""Response times of the Mosaic page for many users, each of whom changes the layout or the image every two seconds.

    python -m benchmarks.app_load
    python -m benchmarks.app_load --visitors 50 --minutes 10
    python -m benchmarks.app_load --act image
    python -m benchmarks.app_load --act page --hostile 5     # all pages, while five of the visitors do harm

Users speak the browser's protocol with a server of its own: they open the page, send a new layout as the page does, and
wait for everything that depends on it: code, downloads, address. The browser draws the mosaics of a layout without the
server (`benchmarks.app_browser --visitors 50` measures that); those of another image (``--act image``) need the server.
The server's memory and CPU time are measured every ten seconds; the first half of the time counts as warm-up for
memory. With ``--act page``, users go from page to page. Hostile visitors ask for what costs most, send files that no
page asked for, and leave in the middle; the server is read-only then, and what they meet does not count.
"""

import argparse
import asyncio
import contextlib
import http.client
import json
import platform
import random
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlparse

import websockets
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState, WidgetStates
from streamlit.web.server.starlette.starlette_app_utils import generate_xsrf_token_string

from app.shared.memory import budget
from app.views.mosaic.strip import SEEDS
from benchmarks.app_server import PAGES, busy, resident, serving

TARGET_MS = 300
EVERY_S, SILENT_S = 2.0, 60.0
"""How often a visitor acts at most, and how long a server may say nothing in between."""
GROWTH = 0.05
"""How much larger than in the middle of the time the server's memory may be at its end."""
DONE = (ForwardMsg.FINISHED_SUCCESSFULLY, ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY)


@dataclass
class Visitor:
    """One session: its socket, what it knows of the page, and how long each of its acts took, in seconds."""

    address: str
    number: int
    act: str
    took: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    strip: str = ""
    link: str = ""
    image: str = ""
    images: list[str] = field(default_factory=list)
    session: str = ""
    fragments: dict[str, str] = field(default_factory=dict)

    async def visit(self, until: float) -> None:
        """Open the page and act until the time is over."""
        draw = random.Random(self.number)
        url = f"ws://{urlparse(self.address).netloc}/_stcore/stream"
        async with websockets.connect(url, max_size=None, subprotocols=["streamlit"]) as socket:
            await self._run(socket, BackMsg())
            if not (self.strip and self.image) and self.act != "page":
                self.errors.append("the page has no strip, or no choice of images")
                return
            await asyncio.sleep(draw.uniform(0, EVERY_S))
            while time.monotonic() < until:
                started = time.monotonic()
                try:
                    await self._run(socket, act := ACTS[self.act](self, draw))
                except TimeoutError:
                    self.errors.append(
                        f"no message for {SILENT_S:.0f} s after a click on {act.rerun_script.page_name!r}"
                    )
                    return
                self.took.append(time.monotonic() - started)
                await asyncio.sleep(max(0.0, EVERY_S - self.took[-1]))

    def other_layout(self, draw: random.Random) -> BackMsg:
        """Return what the strip tells when its visitor has chosen a layout."""
        chosen = {"link": self.link, "seed": draw.randrange(SEEDS), "permutation": "uniform", "borders": True}
        message, state = self._changed(self.strip)
        state.json_value = json.dumps({"chosen": chosen})
        return message

    def other_image(self, draw: random.Random) -> BackMsg:
        """Return what the choice of an image tells."""
        message, state = self._changed(self.image)
        state.string_value = draw.choice(self.images)
        return message

    def other_page(self, draw: random.Random) -> BackMsg:
        """Return what a click in the navigation tells."""
        message = BackMsg()
        message.rerun_script.page_name = draw.choice(PAGES).replace("home", "")
        return message

    async def harm(self, until: float) -> None:
        """Ask for what costs most, send files, and leave without waiting for an answer."""
        draw = random.Random(self.number)
        place = urlparse(self.address).netloc
        while time.monotonic() < until:
            with contextlib.suppress(OSError, TimeoutError, websockets.WebSocketException):
                async with websockets.connect(
                    f"ws://{place}/_stcore/stream", max_size=None, subprotocols=["streamlit"]
                ) as socket:
                    message = BackMsg()
                    message.rerun_script.page_name, message.rerun_script.query_string = draw.choice(HARM)
                    await asyncio.wait_for(self._run(socket, message), draw.uniform(0.2, 10))
                    await socket.send(BackMsg(clear_cache=True).SerializeToString())
                    for number in range(3):
                        await asyncio.to_thread(send_file, place, self.session, number)

    def _changed(self, widget: str) -> tuple[BackMsg, WidgetState]:
        message = BackMsg()
        message.rerun_script.fragment_id = self.fragments[widget]
        message.rerun_script.widget_states.CopyFrom(WidgetStates())
        state = message.rerun_script.widget_states.widgets.add()
        state.id = widget
        return message, state

    async def _run(self, socket: websockets.ClientConnection, message: BackMsg) -> None:
        """Ask for a rerun, and take what comes until the script has ended."""
        if message.WhichOneof("type") != "rerun_script":
            message.rerun_script.page_name = "mosaic"
        await socket.send(message.SerializeToString())
        while True:
            answer = ForwardMsg()
            answer.ParseFromString(await asyncio.wait_for(socket.recv(), SILENT_S))
            self._note(answer)
            if answer.WhichOneof("type") == "script_finished" and answer.script_finished in DONE:
                break

    def _note(self, answer: ForwardMsg) -> None:
        if answer.WhichOneof("type") == "new_session":
            self.session = answer.new_session.initialize.session_id
        if answer.WhichOneof("type") != "delta":
            return
        element = answer.delta.new_element
        match element.WhichOneof("type"):
            case "exception":
                self.errors.append(element.exception.message)
            case "alert" if "not your doing" in element.alert.body:
                self.errors.append(element.alert.body)
            case "bidi_component" if element.bidi_component.id.endswith("-strip"):
                self.strip, self.link = element.bidi_component.id, json.loads(element.bidi_component.json)["link"]
                self.fragments[self.strip] = answer.delta.fragment_id
            case "selectbox" if element.selectbox.label == "Image":
                self.image, self.images = element.selectbox.id, list(element.selectbox.options)
                self.fragments[self.image] = answer.delta.fragment_id


HARM = (
    ("train", urlencode({"batch": 1, "image_size": 1024, "batch_size": 128})),
    ("train", urlencode({"train_per_class": 10_000})),
    ("train", urlencode([("vary", f"{name}=" + ",".join(map(str, range(700)))) for name in ("seed", "split_seed")])),
    ("maps", urlencode({"mosaic": "map", "kept": "|".join(f"train/gorget_crestjay/{i:04d}" for i in range(40))})),
    ("maps", urlencode({"method": "scorecam", "tool": "disagree", "beside": "demo-baseline"})),
    ("sweeps", urlencode({"sweep-levels": " ".join(["gaussian_noise=1,2,3"] * 500)})),
)
"""Pages and queries that cost much."""


def send_file(place: str, session: str, number: int) -> None:
    """Send 20 MB that no page asked for."""
    token = generate_xsrf_token_string()
    start = b'--x\r\nContent-Disposition: form-data; name="f"; filename="a.jpg"\r\n\r\n'
    connection = http.client.HTTPConnection(place, timeout=30)
    connection.request(
        "PUT",
        f"/_stcore/upload_file/{session}/{number}",
        start + bytes(20 * 2**20) + b"\r\n--x--\r\n",
        {
            "Content-Type": "multipart/form-data; boundary=x",
            "X-Xsrftoken": token,
            "Cookie": f"_streamlit_xsrf={token}",
        },
    )
    connection.getresponse().read()
    connection.close()


ACTS: dict[str, Callable[[Visitor, random.Random], BackMsg]] = {
    "layout": Visitor.other_layout,
    "image": Visitor.other_image,
    "page": Visitor.other_page,
}


@dataclass(frozen=True)
class Look:
    """What the server has taken at one moment: bytes of memory, seconds of CPU, and for how many acts."""

    memory: int
    busy_s: float
    presses: int


async def crowd(
    address: str, visitors: int, seconds: float, act: str, pid: int | None, hostile: int = 0
) -> tuple[list[Visitor], list[Look]]:
    """Let the visitors act; return them, and what the server with this number took, every ten seconds."""
    until = time.monotonic() + seconds
    people = [Visitor(address, number, act) for number in range(visitors)]
    looks: list[Look] = []

    async def watch() -> None:
        while pid and time.monotonic() < until:
            looks.append(Look(resident(pid), busy(pid), sum(len(person.took) for person in people)))
            await asyncio.sleep(10)

    await asyncio.gather(
        watch(),
        *(person.harm(until) for person in people[:hostile]),
        *(person.visit(until) for person in people[hostile:]),
    )
    return people[hostile:], looks


def lines(people: list[Visitor], looks: list[Look], seconds: float) -> Iterator[str]:
    """Yield what was found, and whether it is what it should be."""
    took = sorted(1000 * value for person in people for value in person.took)
    errors = [text for person in people for text in person.errors]
    p50, p95, p99 = (took[min(len(took) - 1, int(share * len(took)))] for share in (0.5, 0.95, 0.99))
    yield f"{len(people)} visitors, {seconds / 60:g} min, {len(took)} acts, {len(took) / seconds:.1f} a second"
    yield f"  until everything has arrived: p50 {p50:.0f} ms, p95 {p95:.0f} ms, p99 {p99:.0f} ms"
    yield f"  target p95 ≤ {TARGET_MS} ms: {'met' if p95 <= TARGET_MS else 'missed'}"
    yield f"  errors: {len(errors)}" + "".join(f"\n    {text}" for text in errors[:5])
    opened, last = looks[1], looks[-1]  # the first ten seconds are for opening pages
    each = (last.busy_s - opened.busy_s) / max(1, last.presses - opened.presses)
    yield f"  the server's CPU time: {1000 * each:.0f} ms for each act"
    memory = [look.memory for look in looks]
    middle, end = (statistics.mean(part) for part in (memory[len(memory) // 2 :][:3], memory[-3:]))
    grown = end / middle - 1
    yield (
        f"  the server's memory: {memory[0] / 2**20:.0f} MiB at first, {middle / 2**20:.0f} in the middle, "
        f"{end / 2**20:.0f} at the end ({grown:+.1%}): {'flat' if grown <= GROWTH else 'growing'}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--visitors", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--act", choices=ACTS, default="layout", help="What visitors change.")
    parser.add_argument("--hostile", type=int, default=0, help="How many of the visitors do harm.")
    parser.add_argument("--at", help="Visit the server at this address, and measure nothing.")
    options = parser.parse_args()
    print(f"{platform.machine()}, Python {platform.python_version()}")
    how = (options.visitors, 60 * options.minutes, options.act)
    if options.at:
        asyncio.run(crowd(options.at, *how, None))
        return
    with serving(PMSI_READ_ONLY="1" if options.hostile else "") as server:
        people, looks = asyncio.run(crowd(server.address, *how, server.process.pid, options.hostile))
    most = max(look.memory for look in looks) - looks[0].memory
    print(f"the server's memory at most: +{most / 2**20:.0f} MiB, of {budget() / 2**20:.0f}")
    print("\n".join(lines(people, looks, 60 * options.minutes)))


if __name__ == "__main__":
    main()
