"""The Tables page in Chromium: a number leads to its run, by mouse and by keyboard; a table for each width."""

import re

import pytest
from driving import settled
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def test_a_number_opens_its_run_and_stands_in_a_table_that_fits(page, site):
    for width, look in ((390, ".numbers:not(.wide)"), (1440, ".numbers.wide")):
        page.set_viewport_size({"width": width, "height": 844})
        page.goto(site.table)
        settled(page)
        table = page.get_by_role("table")
        expect(table).to_have_count(1)
        expect(page.locator(look)).to_be_visible()
        for number in ("62.5", "87.0", "−24.5"):
            expect(table.get_by_text(number, exact=True).first).to_be_visible()
    number = table.get_by_role("link", name="62.5")
    number.click()
    expect(page).to_have_url(re.compile(rf"/runs\?run={site.best}$"))
    expect(page.get_by_role("heading", name="RMG-PMSI on plumage")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", name="Table III")).to_be_visible()
    number.focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(rf"/runs\?run={site.best}$"))
