"""What comes in, in Chromium: uploads that are refused, names that are no HTML; and the app below a base path."""

import io
import re
import struct
import urllib.error
import urllib.request
import zipfile
import zlib

import pytest
from driving import drawn, go, loaded, mosaic, serving, settled, upload
from pages import class_folders, png
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

NASTY = "<img src=x onerror=document.title='hacked'>"


def huge_png() -> bytes:
    """A PNG of 60,000 × 60,000 pixels by its header, and of 100 bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


REFUSED = {
    "a bomb": (huge_png(), "too many to open safely"),
    "a page": (b"<html><script>document.title='hacked'</script></html>", "it is a web page"),
}


def _choose_upload(page):
    page.goto("/mosaic")
    settled(page)
    page.locator(".st-key-bar-image button").first.click()
    page.get_by_role("dialog").get_by_role("radio", name="Upload").click()
    expect(page.get_by_role("dialog").get_by_text("JPEG, PNG")).to_be_visible()


def test_a_refused_upload_says_why_and_shows_its_name_as_it_is(page):
    for content, reason in REFUSED.values():
        _choose_upload(page)
        upload(page, f"{NASTY}**bold**.png", content)
        alert = page.get_by_role("alert").filter(has_text=reason)
        expect(alert).to_be_visible()
        expect(alert).to_contain_text(f"{NASTY}**bold**.png")
        assert alert.locator("img, strong").count() == 0
    _choose_upload(page)
    upload(page, f"{NASTY}.png", png())
    drawn(mosaic(page, 1, f"{NASTY}.png"))
    expect(page).not_to_have_title("hacked")


def import_as(page, name, said, left_out=""):
    """Name the new data set, import what was uploaded, read what is said of it, and look at its first picture."""
    field = page.get_by_role("textbox", name="Name of the new data set")
    field.fill(name)
    field.press("Enter")
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_text(said)).to_be_visible()
    if left_out:
        expect(page.get_by_role("alert").filter(has_text="left out")).to_contain_text(left_out)
    page.get_by_role("button", name="Look at it").click()
    expect(page.get_by_text(said.partition(": ")[2].partition(",")[0]).first).to_be_visible()  # so many classes
    loaded(page.get_by_test_id("stMain").locator("img").first)
    expect(page).to_have_url(re.compile("set=imported-"))


def test_a_zip_is_imported_and_shown(page):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for label in (NASTY.replace("/", ""), "[x](javascript:alert(1))"):
            for i in range(3):
                archive.writestr(f"{label}/{i}.png", png(i))
    page.goto("/data?show=import&from=zip")
    upload(page, "birds.zip", buffer.getvalue(), "application/zip")
    import_as(page, "garden <b>", "garden -b: 2 classes, 6 images.")
    expect(page).not_to_have_title("hacked")


def test_a_folder_is_imported_and_shown(page, tmp_path):
    folder = class_folders(tmp_path / "birds", ("blue tit", "wren"), 3)
    (folder / "wren" / "notes.txt").write_text("not a picture")
    (folder / "wren" / "broken.png").write_bytes(png()[:60])
    page.goto("/data?show=import&from=folder")
    page.locator("input[type=file]").set_input_files(folder)
    import_as(page, "from a folder", "from a folder: 2 classes, 6 images.", left_out="broken.png: it is truncated")


def test_the_app_works_below_a_base_path(chromium, tmp_path):
    with serving(tmp_path / "runs", STREAMLIT_SERVER_BASE_URL_PATH="lab") as address:
        assert address.endswith("/lab")
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(address.removesuffix("/lab") + "/_stcore/health")
        page = chromium.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(30_000)
        foreign = []
        page.on("request", lambda request: foreign.append(request.url) if not request.url.startswith(
            (address, address.replace("http", "ws"), "data:", "blob:")) else None)  # fmt: skip
        page.goto(f"{address}/compare?table=3")
        expect(page.get_by_role("heading", name=re.compile("Table III"))).to_be_visible()
        with page.expect_download() as download:
            page.get_by_role("button", name="CSV").click()
        assert download.value.suggested_filename == "table-3.csv"
        go(page, "Data")
        expect(page).to_have_url(re.compile("/lab/data"))
        loaded(page.get_by_alt_text("Ochre Finchling").first)
        page.reload()
        loaded(page.get_by_alt_text("Ochre Finchling").first)
        page.close()
        assert not foreign
