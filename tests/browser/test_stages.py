"""The stages page in Chromium: what a cell can see follows pointer and keys without the server; choices stay."""

import re

import pytest
from driving import go, settled
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def lit(picture):
    """The frame of what the cell can see, in pixels of the image."""
    return picture.locator("svg path").first.get_attribute("d")


def test_the_field_follows_the_pointer_and_the_keys_without_the_server_and_a_channel_stays(page, site):
    page.goto(f"/stages?run={site.first}")
    cells = page.get_by_role("application", name=re.compile("^Cells of S3"))
    expect(cells).to_be_visible()
    settled(page)
    page.context.set_offline(True)
    said = page.locator(".words")
    row = page.locator(".row button")
    box = row.nth(3).bounding_box()
    page.mouse.move(box["x"] + 8, box["y"] + 8)
    expect(said).to_contain_text("row 1, column 1 of 8 × 8")
    assert lit(row.nth(2)) == lit(cells) == "M0 0H64V64H0ZM0 0V22H22V0Z"  # half of 43 px, cut off at the corner
    cells.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Shift+ArrowRight")
    expect(said).to_contain_text("row 2, column 6 of 8 × 8")
    assert lit(cells) == "M0 0H64V64H0ZM19 0V30H62V0Z"
    page.context.set_offline(False)
    row.nth(3).click()
    page.locator(".tiles button").nth(2).click()
    expect(page).to_have_url(re.compile(r"channel=S4%3A\d+"))
    channel = re.search(r"S4%3A(\d+)", page.url)[1]
    expect(page.get_by_text(f"S4, channel {channel}", exact=True)).to_be_visible()
    number = page.get_by_role("spinbutton", name=re.compile("^Channel"))
    number.fill("77")
    number.press("Enter")
    expect(page).to_have_url(re.compile("S4%3A77"))
    expect(said).to_contain_text("S4, channel 77 of 80")
    page.reload()
    expect(said).to_contain_text("S4, channel 77 of 80")
    page.get_by_text("r = 3", exact=True).click()
    expect(page).to_have_url(re.compile("cut=3"))
    expect(said).to_contain_text("S4, channel 77 of 80")
    go(page, "Maps")
    expect(page.get_by_role("heading", name="Where the stages look")).to_be_visible()
