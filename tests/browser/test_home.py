"""The first page in Chromium: an uploaded image goes through its steps, and along to the next page."""

import pytest
from driving import drawn, loaded, mosaic, upload
from pages import png
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def test_an_upload_goes_through_the_steps_and_along_to_the_next_page(page):
    page.goto("/?source=upload")
    page.get_by_role("button", name="Choose an image").click()
    upload(page, "red.png", png(size=(120, 90)))
    loaded(page.get_by_alt_text("Your image", exact=True))
    page.get_by_role("link", name="See the recursion").click()
    expect(page.get_by_role("heading", name="Recursive mosaic")).to_be_visible()
    drawn(mosaic(page, 3, "red.png"))
