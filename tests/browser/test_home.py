"""The first page in Chromium: the picture leads on, with the image, also with one that was uploaded."""

import io
import itertools
import re

import pytest

pytest.importorskip("playwright", reason="Playwright is not installed, so the browser tests are left out.")

from driving import drawn, loaded, mosaic
from PIL import Image
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


def flow(page, title):
    """Return a part of the picture, once the page can follow it."""
    expect(page.locator("[data-testid=stApp][data-test-script-state=notRunning]")).to_be_visible()
    expect(page.locator(".st-key-flow-links a")).to_have_count(5)
    return page.locator(".flow a").filter(has_text=title)


def test_a_part_of_the_picture_opens_its_page_and_back_leads_back(page):
    page.goto("/")
    expect(page.locator(".flow a")).to_have_count(5)
    flow(page, "Mosaics by phase").click()
    expect(page).to_have_url(re.compile(r"/mosaic\?.*image="))
    expect(page.get_by_role("heading", name="Recursive mosaic")).to_be_visible()
    page.go_back()
    flow(page, "Interaction").focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/train"))


def test_an_upload_goes_through_the_picture_and_along_to_the_next_page(page):
    file = io.BytesIO()
    Image.new("RGB", (120, 90), (250, 10, 20)).save(file, "PNG")
    page.goto("/?source=upload")
    upload = {"name": "red.png", "mimeType": "image/png", "buffer": file.getvalue()}
    page.locator("input[type=file]").set_input_files(upload)
    loaded(page.get_by_alt_text("Your image", exact=True))
    flow(page, "Mosaics by phase").click()
    expect(page.get_by_text("Still here: red.png")).to_be_visible()
    drawn(mosaic(page, 3, "red.png"))


def test_the_parts_stand_below_each_other_in_a_narrow_window(page):
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto("/")
    expect(page.locator(".flow a")).to_have_count(5)
    expect(page.locator("[data-testid=stApp][data-test-script-state=notRunning]")).to_be_visible()
    assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= 390
    boxes = [part.bounding_box() for part in page.locator(".flow a").all()]
    assert all(above["y"] + above["height"] <= below["y"] for above, below in itertools.pairwise(boxes))
