"""The page for phones: its parts, its policy and its site, without a browser."""

import base64
import gzip
import hashlib
import io
import json
import re
import zipfile

import numpy as np
import pytest
from PIL import Image

from pmsi.export import page
from pmsi.graph.onnx_model import OnnxModel


@pytest.fixture(scope="module")
def model(exported):
    return exported.read_bytes()


def test_the_vendored_runtime_is_what_its_checksums_say():
    for line in (page.FOLDER / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split()
        assert hashlib.sha256((page.FOLDER / name).read_bytes()).hexdigest() == digest


def test_a_page_holds_the_model_and_allows_nothing_but_itself(tiny_run, model):
    text = page.page(tiny_run, model).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    assert "default-src 'none'" in policy
    assert "connect-src 'none'" in policy
    for body in re.findall(r"<(?:style|script|script type=\"module\")>(.*?)</(?:style|script)>", text, re.DOTALL):
        assert base64.b64encode(hashlib.sha256(body.encode()).digest()).decode() in policy
    assert not re.search(r'(?:src|href)="(?!data:)', text)
    about = json.loads(re.search(r'id="about">(.*?)</script>', text, re.DOTALL)[1])
    packed = re.search(r'id="model">(.*?)</script>', text, re.DOTALL)[1]
    apart = bytearray(gzip.decompress(base64.b85decode(packed.replace(",", "<"))))
    for start, size in about["halves"]:
        low, high = apart[start : start + size // 2], apart[start + size // 2 : start + size]
        apart[start : start + size] = bytes(byte for pair in zip(low, high, strict=True) for byte in pair)
    assert bytes(apart) == model
    assert about["classes"] == list(OnnxModel(model).classes)
    assert all(len(base64.b64decode(picture)) <= page.THUMBNAIL_BYTES for picture in about["thumbnails"])
    sure = json.loads((tiny_run.folder / "predictions.json").read_text())["confidence"][about["primary"]]
    assert np.mean(np.array(sure) < about["unsure_below"]) <= 0.05 + 1 / len(sure)


def test_names_are_put_in_as_they_are(copied, model, monkeypatch):
    """A name that looks like markup, or like a place of the template, changes nothing else."""
    monkeypatch.setattr(page, "_title", lambda run, about: "</title><script>{{model}}")
    text = page.page(copied, model).decode()
    assert "<title>&lt;/title&gt;&lt;script&gt;{{model}}</title>" in text
    assert text.count("</script>") == (page.FOLDER / "page.html").read_text().count("</script>")


def test_a_site_names_all_that_it_keeps(tiny_run, model):
    with zipfile.ZipFile(io.BytesIO(page.site(tiny_run, model))) as site:
        kept = json.loads(re.search(r"FILES = (\[.*?\])", site.read("worker.js").decode())[1])
        assert {*kept, "index.html", "worker.js"} == {"./", *site.namelist()}
        icons = json.loads(site.read("manifest.webmanifest"))["icons"]
        for icon in icons[1:]:
            side = int(icon["sizes"].split("x")[0])
            assert Image.open(io.BytesIO(site.read(icon["src"]))).size == (side, side)
