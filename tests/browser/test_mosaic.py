"""The mosaic page in Chromium: the recursion by keyboard, what a link and a reload keep, and a narrow window."""

import re

import pytest

pytest.importorskip("playwright", reason="Playwright is not installed, so the browser tests are left out.")

from driving import expect_other_pixels, loaded, number
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


def words(page):
    return page.locator(".steps .words")


def test_the_recursion_is_stepped_through_by_keyboard_without_the_server(page):
    page.goto("/mosaic")
    expect(words(page)).to_have_text(re.compile("r = 0"))
    expect(page.locator("[data-testid=stApp][data-test-script-state=notRunning]")).to_be_visible()
    page.context.set_offline(True)
    steps = page.get_by_role("group", name="The recursion, step by step")
    steps.focus()
    tile = page.locator(".steps .tiles div").first
    before = tile.get_attribute("style")
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    expect(words(page)).to_have_text(re.compile("r = 1"))
    page.keyboard.press("End")
    expect(words(page)).to_have_text(re.compile("r = 3.*An eighth|r = 3.*an eighth"))
    assert tile.get_attribute("style") != before
    expect(page).to_have_url(re.compile("step=6"))
    page.keyboard.press("Home")
    assert tile.get_attribute("style") == before
    page.keyboard.press("Space")
    expect(words(page)).to_have_text(re.compile("Recursion 1 cuts"))
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Play")).to_be_visible()


def test_a_reload_keeps_layout_step_and_position(page):
    page.goto("/mosaic?seed=11&step=3")
    expect(words(page)).to_have_text(re.compile("recursion 2 cuts"))
    page.reload()
    expect(words(page)).to_have_text(re.compile("recursion 2 cuts"))
    expect(number(page, "Layout")).to_have_value("11")
    page.get_by_role("radio", name="Receptive fields").click()
    image = page.get_by_role("application", name="Receptive fields over the image")
    image.click(position={"x": 40, "y": 60})
    expect(page).to_have_url(re.compile("at=0.*seed=11|seed=11.*at=0"))
    page.get_by_role("button", name=re.compile("^S4")).click()
    said = page.locator(".fields .words").inner_text()
    page.reload()
    expect(page.locator(".fields .words")).to_have_text(said)
    expect(page.get_by_role("button", name=re.compile("^S4"))).to_have_attribute("aria-pressed", "true")


def test_a_new_layout_moves_the_tiles_of_the_step_that_is_shown(page):
    page.goto("/mosaic?step=6")
    mosaic = page.get_by_alt_text(re.compile("mosaic with r = 3$"))
    before, tile = loaded(mosaic), page.locator(".steps .tiles div").first
    styles = [one.get_attribute("style")[-60:] for one in page.locator(".steps .tiles div").all()]
    expect(tile).to_be_visible()
    page.get_by_role("button", name="New layout").click()
    expect_other_pixels(mosaic, before)
    expect(words(page)).to_have_text(re.compile("r = 3"))
    page.wait_for_function(
        "before => [...document.querySelectorAll('*')].map(one => one.shadowRoot?.querySelectorAll('.tiles div') ?? [])"
        ".flatMap(found => [...found]).some((one, i) => one.getAttribute('style').slice(-60) !== before[i])",
        arg=styles,
    )


@pytest.mark.parametrize("look", ["steps", "training", "beside", "fields"])
def test_nothing_is_cut_off_in_a_narrow_window(page, look):
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"/mosaic?look={look}")
    expect(page.get_by_role("radio", name="Step by step")).to_be_visible()
    expect(page.locator("[data-testid=stApp][data-test-script-state=notRunning]")).to_be_visible()
    assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= 390
    expect(page.get_by_text(re.compile("Traceback|Something went wrong"))).to_have_count(0)
