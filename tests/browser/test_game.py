"""The game in Chromium: a round is played by the keyboard alone."""

import pytest
from driving import settled
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def test_number_keys_name_what_is_shown_and_enter_goes_on(page):
    page.goto("/game")
    expect(page.get_by_role("button", name="Begin")).to_be_visible()
    settled(page)
    page.keyboard.press("Enter")
    for number, r in enumerate((3, 2, 1, 0), 1):
        expect(page.get_by_alt_text(f"The image of round 1 at r = {r}")).to_be_visible()
        settled(page)
        page.keyboard.press(str(number))
    table = page.get_by_role("table")
    expect(table.get_by_role("row").filter(has_text="You").get_by_role("cell")).to_have_count(5)
    expect(table.get_by_role("row").filter(has_text="mix")).to_be_visible()
