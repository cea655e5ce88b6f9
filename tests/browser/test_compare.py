"""The Compare page in Chromium: a number leads to its run, by mouse and by keyboard, and a narrow window has room."""

import re

import pytest

pytest.importorskip("playwright", reason="Playwright is not installed, so the browser tests are left out.")

from driving import serving
from playwright.sync_api import expect

from pmsi.config.presets import PRESETS
from pmsi.runs import Run, State, lifecycle

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


@pytest.fixture(scope="module")
def filled(chromium, tmp_path_factory):
    """The address of an app with one finished run of Table III, and that run."""
    folder = tmp_path_factory.mktemp("compared")
    config = PRESETS["quick"].config
    run = Run.create(folder, config)
    accuracy = {"S3": 0.25, "S4": 0.25, "S5": 0.25, "concat": 0.5, "mix": 0.625}
    result = {
        "last": {"epoch": 28, "accuracy": accuracy},
        "best": {"epoch": 26, "accuracy": accuracy, "by": "mix"},
        "classes": ["wren", "owl"],
        "train_images": 20,
        "test_images": 8,
        "skipped_images": 0,
        "parameters": 1_234_567,
        "seconds": 65.0,
    }
    lock = lifecycle.begin(run.folder)
    lifecycle.settle(run.folder, State.FINISHED, {"result": result}, lock)
    with serving(folder) as address:
        yield address, run


def test_a_number_opens_its_run(page, filled):
    address, run = filled
    page.goto(f"{address}/compare?table=3")
    number = page.get_by_role("table").get_by_role("link", name="62.5")
    number.click()
    expect(page).to_have_url(re.compile(rf"/runs\?run={run.id}$"))
    expect(page.get_by_role("heading", name="RMG-PMSI on plumage")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", name="Table III")).to_be_visible()
    number.focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(rf"/runs\?run={run.id}$"))


@pytest.mark.parametrize("table", ["1", "3", "7", "fig1"])
def test_nothing_is_cut_off_in_a_narrow_window(page, filled, table):
    open_narrow(page, f"{filled[0]}/compare?table={table}")
    assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= 390


def test_a_wide_window_has_a_line_for_each_row_and_a_narrow_one_has_the_same_numbers(page, filled):
    for width, look in ((1440, ".numbers.wide"), (390, ".numbers:not(.wide)")):
        page.set_viewport_size({"width": width, "height": 844})
        page.goto(f"{filled[0]}/compare?table=3")
        table = page.get_by_role("table")
        expect(table).to_have_count(1)
        expect(page.locator(look)).to_be_visible()
        for number in ("62.5", "87.0", "−24.5"):
            expect(table.get_by_text(number, exact=True).first).to_be_visible()


def test_a_wide_table_scrolls_beside_its_first_column(page, filled):
    open_narrow(page, f"{filled[0]}/compare?table=7", width=260)
    first, last = page.locator(".numbers thead th").first, page.locator(".numbers thead th").last
    before, hidden = first.bounding_box(), last.bounding_box()
    page.locator(".st-key-paper-table").evaluate("box => box.scrollLeft = 1000")
    assert first.bounding_box()["x"] == before["x"]
    assert last.bounding_box()["x"] < hidden["x"]


def open_narrow(page, url, width=390):
    page.set_viewport_size({"width": width, "height": 844})
    page.goto(url)
    expect(page.get_by_role("table")).to_be_visible()
    expect(page.locator("[data-testid=stApp][data-test-script-state=notRunning]")).to_be_visible()
