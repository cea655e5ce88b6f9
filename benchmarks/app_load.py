"""Many visitors at once on the Mosaic page: each changes the layout's seed every two seconds.

    python -m benchmarks.app_load
    python -m benchmarks.app_load --visitors 50 --minutes 10

Visitors speak the browser's own protocol with a server that is started for the purpose: they open the page, press a
key in the field of the seed, and wait until the part of the page that shows the mosaics is drawn again and has arrived.
They fetch each new picture too, as a browser would. What a browser needs to paint is not in it
(`benchmarks.app_browser` measures that). The server's memory is looked at every ten seconds; half of the time counts as
warming up.
"""

import argparse
import asyncio
import platform
import random
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlparse

import websockets
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetStates

from benchmarks.app_server import resident, serving

TARGET_MS = 300
EVERY_S = 2.0
GROWTH = 0.05
"""How much larger than in the middle of the time the server's memory may be at its end."""
DONE = (ForwardMsg.FINISHED_SUCCESSFULLY, ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY)


@dataclass
class Visitor:
    """One session: its socket, what it knows of the page, and how long each of its key presses took, in seconds."""

    address: str
    seed: int
    took: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    widget: str = ""
    fragment: str = ""
    pictures: set[str] = field(default_factory=set)

    async def visit(self, until: float) -> None:
        """Open the page and act until the time is over."""
        place = urlparse(self.address)
        draw = random.Random(self.seed)
        url = f"ws://{place.netloc}/_stcore/stream"
        async with websockets.connect(url, max_size=None, subprotocols=["streamlit"]) as socket:
            await self._act(socket, BackMsg())
            if not self.widget:
                self.errors.append("the page has no field for the seed")
                return
            await asyncio.sleep(draw.uniform(0, EVERY_S))
            while time.monotonic() < until:
                started = time.monotonic()
                await self._act(socket, self._key_press(draw.randrange(1000)))
                self.took.append(time.monotonic() - started)
                await asyncio.sleep(max(0.0, EVERY_S - self.took[-1]))

    def _key_press(self, seed: int) -> BackMsg:
        message = BackMsg()
        message.rerun_script.fragment_id = self.fragment
        message.rerun_script.widget_states.CopyFrom(WidgetStates())
        state = message.rerun_script.widget_states.widgets.add()
        state.id, state.double_value = self.widget, float(seed)
        return message

    async def _act(self, socket: websockets.ClientConnection, message: BackMsg) -> None:
        """Ask for a rerun, take what comes until the script has ended, then the pictures that are new."""
        if not message.HasField("rerun_script"):
            message.rerun_script.page_name = "mosaic"
        await socket.send(message.SerializeToString())
        fresh: list[str] = []
        while True:
            answer = ForwardMsg()
            answer.ParseFromString(await asyncio.wait_for(socket.recv(), 60))
            self._note(answer, fresh)
            if answer.WhichOneof("type") == "script_finished" and answer.script_finished in DONE:
                break
        for url in dict.fromkeys(fresh):
            if url not in self.pictures:
                self.pictures.add(url)
                await fetch(self.address, url)

    def _note(self, answer: ForwardMsg, fresh: list[str]) -> None:
        if answer.WhichOneof("type") != "delta":
            return
        element = answer.delta.new_element
        match element.WhichOneof("type"):
            case "exception":
                self.errors.append(element.exception.message)
            case "number_input" if "seed" in element.number_input.label:
                self.widget, self.fragment = element.number_input.id, answer.delta.fragment_id
            case "imgs":
                fresh += [image.url for image in element.imgs.imgs]


async def fetch(address: str, path: str) -> None:
    """Get a file of the server, and throw it away."""
    place = urlparse(address)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {place.netloc}\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    if not answer.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"{path}: {answer[:40]!r}")


async def crowd(address: str, visitors: int, seconds: float, pid: int) -> tuple[list[Visitor], list[int]]:
    """Let the visitors act; return them, and the server's memory in bytes every ten seconds."""
    until = time.monotonic() + seconds
    people = [Visitor(address, seed) for seed in range(visitors)]
    memory: list[int] = []

    async def watch() -> None:
        while time.monotonic() < until:
            memory.append(resident(pid))
            await asyncio.sleep(10)

    await asyncio.gather(watch(), *(person.visit(until) for person in people))
    return people, memory


def lines(people: list[Visitor], memory: list[int], seconds: float) -> Iterator[str]:
    """Yield what was found, and whether it is what it should be."""
    took = sorted(1000 * value for person in people for value in person.took)
    errors = [text for person in people for text in person.errors]
    p50, p95, p99 = (took[min(len(took) - 1, int(share * len(took)))] for share in (0.5, 0.95, 0.99))
    yield f"{len(people)} visitors, {seconds / 60:g} min, {len(took)} key presses, {len(took) / seconds:.1f} a second"
    yield f"  until the new mosaics have arrived: p50 {p50:.0f} ms, p95 {p95:.0f} ms, p99 {p99:.0f} ms"
    yield f"  target p95 ≤ {TARGET_MS} ms: {'met' if p95 <= TARGET_MS else 'missed'}"
    yield f"  errors: {len(errors)}" + "".join(f"\n    {text}" for text in errors[:5])
    middle, end = (statistics.mean(part) for part in (memory[len(memory) // 2 :][:3], memory[-3:]))
    grown = end / middle - 1
    yield f"  the server's memory: {memory[0] / 2**20:.0f} MiB at first, {middle / 2**20:.0f} in the middle, "
    yield f"  {end / 2**20:.0f} at the end ({grown:+.1%}): {'flat' if grown <= GROWTH else 'growing'}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--visitors", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=10)
    options = parser.parse_args()
    print(f"{platform.machine()}, Python {platform.python_version()}")
    with serving() as server:
        people, memory = asyncio.run(crowd(server.address, options.visitors, 60 * options.minutes, server.process.pid))
    print("\n".join(lines(people, memory, 60 * options.minutes)))


if __name__ == "__main__":
    main()
