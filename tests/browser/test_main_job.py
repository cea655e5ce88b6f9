"""The main job in Chromium, by clicking only: from the first mosaic to the maps of a model trained a minute ago."""

import re

import pytest
from driving import (
    drawn,
    expect_other_drawing,
    expect_other_pixels,
    expect_state,
    go,
    loaded,
    mosaic,
    number,
    short_run,
    start,
)
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def test_from_the_first_click_to_the_maps(page):
    page.goto("/mosaic")
    look_at_mosaics(page)
    go(page, "Train")
    short_run(page, epochs=2)
    start(page)
    watch_it_finish(page)
    page.get_by_test_id("stPageLink-NavLink").filter(has_text="Perturb").click()
    perturb(page)
    go(page, "Maps")
    look_at_maps(page)


def look_at_mosaics(page):
    mosaics = [mosaic(page, r) for r in range(4)]
    before = [drawn(each) for each in mosaics]
    number(page, "Layout").fill("11")
    for r in (1, 2, 3):
        expect_other_drawing(mosaics[r], before[r])
    assert drawn(mosaics[0]) == before[0]
    expect(page).to_have_url(re.compile("seed=11"))


def watch_it_finish(page):
    expect(page.get_by_role("heading", name="RMG-PMSI on plumage")).to_be_visible()
    theatre = page.get_by_role("group", name=re.compile("while the network learned"))
    expect(theatre).to_be_visible()  # while it works
    expect_state(page, "finished")
    expect(theatre.locator("output")).to_have_text("After epoch 2")
    expect(theatre.locator("canvas")).to_have_count(18)
    theatre.get_by_role("slider").press("Home")
    expect(theatre.locator("output")).to_have_text("Before training")
    for words in ("Training loss", "Test accuracy"):
        expect(page.get_by_text(words).first).to_be_visible()
    charts = page.locator(".js-plotly-plot")
    expect(charts).to_have_count(2)
    for chart in charts.all():
        expect(chart.locator(".legendtext", has_text="S3")).to_be_visible()
        expect(chart.locator(".scatterlayer .trace").first).to_be_attached()
    table = page.get_by_test_id("stTable").first
    expect(table).to_contain_text("Best epoch")
    expect(table).to_contain_text("mix")
    expect(page.get_by_role("button", name="Stop")).to_have_count(0)


def perturb(page):
    expect(page).to_have_url(re.compile("perturb.*run="))
    after = page.locator("figure, [data-testid=stImage]").filter(has_text="After").get_by_role("img")
    before = loaded(after)
    slider = page.get_by_role("slider", name="Colour jitter k")
    slider.focus()
    slider.press("End")
    changed = expect_other_pixels(after, before)
    noise = page.get_by_role("slider", name=re.compile("Gaussian noise"))
    noise.focus()
    noise.press("End")
    expect_other_pixels(after, changed)
    expect(page.get_by_text("noise with σ").first).to_be_visible()


def look_at_maps(page):
    maps = [page.get_by_alt_text(re.compile(rf"{stage}: evidence for")) for stage in ("S3", "S4", "S5")]
    maps[0].scroll_into_view_if_needed()  # they are loaded as they come into sight
    assert len({loaded(shown) for shown in maps}) == 3
    before = loaded(maps[0])
    page.get_by_role("button", name="More", exact=True).click()
    overlay = page.get_by_role("slider", name="Overlay")
    overlay.focus()
    overlay.press("Home")
    expect_other_pixels(maps[0], before)
