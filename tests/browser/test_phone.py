"""The page for phones in Chromium: from a file, from a server that then goes, damaged, with a camera."""

import http.server
import io
import re
import threading
import time
import zipfile

import numpy as np
import pytest
from PIL import Image

from pmsi.export import page as pages
from pmsi.export.formats import EXPORTS
from pmsi.predictor import Predictor
from pmsi.runs.calibration import Calibration

pytestmark = pytest.mark.browser


def until(page, question):
    """Wait until a script's answer is true: the page's policy forbids Playwright's own waiting in the page."""
    end = time.monotonic() + 60
    while not page.evaluate(question):
        assert time.monotonic() < end, question
        page.wait_for_timeout(50)


@pytest.fixture(scope="module")
def model(tiny_run):
    return EXPORTS[".onnx"].make(tiny_run, "float16")


@pytest.fixture
def window(chromium):
    """A window of a phone's size; requests beside the page, and errors of its scripts, fail the test."""
    context = chromium.new_context(viewport={"width": 390, "height": 844})
    page, wrong = context.new_page(), []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    yield page
    context.close()
    assert not wrong


def photo(number):
    """A noisy picture of its own size, as a PNG's bytes."""
    generator = np.random.default_rng(number)
    pixels = generator.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((320 + 16 * number, 240), Image.Resampling.BICUBIC).save(file, "PNG")
    return file.getvalue()


def uploaded(number):
    return {"name": f"{number}.png", "mimeType": "image/png", "buffer": photo(number)}


def test_a_file_answers_as_the_run_does_with_no_network(tiny_run, model, window, tmp_path, monkeypatch):
    predictor = Predictor.load(tiny_run)
    half = dict.fromkeys(predictor.heads, 0.5)
    calibration = Calibration("", "test", 9, half, {"max_logit": dict.fromkeys(predictor.heads, 1e6)})
    monkeypatch.setattr(pages, "parsed", lambda stored: calibration)
    predictor.temperatures = half
    (tmp_path / "bird.html").write_bytes(pages.page(tiny_run, model))
    asked = []
    window.on("request", lambda request: asked.append(request.url))
    window.goto((tmp_path / "bird.html").as_uri())
    until(window, "document.body.dataset.ready === 'yes'")
    window.set_input_files("#file", [uploaded(number) for number in range(3)])
    until(window, "document.getElementById('counted').textContent === '3 photos'")
    lines = window.evaluate("lab.csv()").splitlines()
    for number, line in enumerate(lines[1:]):
        seen = predictor.prepare(Image.open(io.BytesIO(photo(number))))
        cells = re.findall(r'"([^"]*)"', line)
        said = dict(zip(predictor.heads, zip(cells[1:-1:2], map(float, cells[2:-1:2]), strict=True), strict=True))
        for head, guesses in predictor.predict(seen, top=12).heads.items():
            name, probability = said[head]
            expected = {guess.name: guess.probability for guess in guesses}
            assert probability == pytest.approx(expected[name], abs=0.02)
            assert expected[name] >= guesses[0].probability - 0.04
        assert cells[-1] == "true", "no image reaches the threshold"
    window.check("#raw input")
    predictor.temperatures = {}
    raw = re.findall(r'"([^"]*)"', window.evaluate("lab.csv()").splitlines()[1])
    guess = predictor.predict(predictor.prepare(Image.open(io.BytesIO(photo(0))))).best
    assert float(raw[-2]) == pytest.approx(guess.probability, abs=0.02), "without temperatures"
    window.click("#top li:nth-child(4) button")
    until(window, "lab.state.answer.explained === lab.state.label")
    found = window.evaluate(
        "Object.fromEntries(Object.entries(lab.state.answer.maps).map(([s, m]) => [s, [...m.values]]))"
    )
    seen = predictor.prepare(Image.open(io.BytesIO(photo(2))))
    expected = predictor.explain(seen, label=window.evaluate("lab.state.label"))
    for stage, values in expected.maps.items():
        np.testing.assert_allclose(found[stage], values.ravel(), rtol=0, atol=0.15 * float(values.max()) + 1e-6)
    assert [url for url in asked if not url.startswith(("file:", "blob:", "data:"))] == []
    assert window.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_damaged_page_and_an_old_browser_are_told_apart(tiny_run, model, chromium, tmp_path):
    whole = pages.page(tiny_run, model)
    middle = whole.index(b'id="model">') + 2000
    for name, data in {
        "cut": whole[: len(whole) // 2],
        "changed": whole[:middle] + b"0000000" + whole[middle + 7 :],
    }.items():
        (tmp_path / f"{name}.html").write_bytes(data)
        page = chromium.new_page()
        page.goto((tmp_path / f"{name}.html").as_uri())
        until(page, "document.getElementById('status').className === 'problem'")
        page.close()
    (tmp_path / "whole.html").write_bytes(whole)
    page = chromium.new_page()
    page.add_init_script("delete window.DecompressionStream")
    page.goto((tmp_path / "whole.html").as_uri())
    assert page.inner_text("#status") in (pages.FOLDER / "early.js").read_text()
    assert page.evaluate("typeof lab") == "undefined", "an old browser was told what it is, and no more is tried"
    page.close()


def test_a_site_works_when_its_server_is_gone_and_with_a_camera(tiny_run, model, chromium, tmp_path):
    with zipfile.ZipFile(io.BytesIO(pages.site(tiny_run, model))) as site:
        site.extractall(tmp_path)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *given):
            super().__init__(*given, directory=tmp_path)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/"
    page = chromium.new_page()
    page.goto(address)
    until(page, "document.body.dataset.ready === 'yes'")
    until(page, "navigator.serviceWorker.ready.then(() => caches.keys()).then((names) => names.length === 1)")
    server.shutdown()
    server.server_close()
    page.goto(address)
    until(page, "document.body.dataset.ready === 'yes'")
    assert page.evaluate("self.crossOriginIsolated")
    page.click("#live")
    until(page, "!!lab.state.answer")
    side = tiny_run.config.image_size
    assert page.evaluate("lab.state.answer.seen.length") == 3 * side * side
    page.click("#live")
    page.close()
