"""The first page in Chromium: the picture leads on, with the image, also with one that was uploaded."""

import re

import pytest
from driving import drawn, loaded, mosaic, settled, upload
from pages import png
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def flow(page, title):
    """Return a part of the picture, once the page can follow it."""
    settled(page)
    expect(page.locator(".st-key-flow-links a")).to_have_count(5)
    return page.locator(".flow a").filter(has_text=title)


def test_a_part_of_the_picture_opens_its_page_and_back_leads_back(page):
    page.goto("/")
    expect(page.locator(".flow a")).to_have_count(5)
    flow(page, "Mosaics by phase").click()
    expect(page).to_have_url(re.compile(r"/mosaic\?.*image="))
    expect(page.get_by_role("heading", name="Recursive mosaic")).to_be_visible()
    settled(page)
    page.go_back()
    flow(page, "Interaction").focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/train"))


def test_an_upload_goes_through_the_picture_and_along_to_the_next_page(page):
    page.goto("/?source=upload")
    upload(page, "red.png", png(size=(120, 90)))
    loaded(page.get_by_alt_text("Your image", exact=True))
    flow(page, "Mosaics by phase").click()
    expect(page.get_by_text("Still here: red.png")).to_be_visible()
    drawn(mosaic(page, 3, "red.png"))
