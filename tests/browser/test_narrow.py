"""Every page in a narrow window: nothing is cut off, nothing is wider than it, nothing went wrong."""

import re

import pytest
from driving import settled
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


@pytest.fixture
def narrow(page):
    """Return what opens a page in a window of 390 pixels, and looks whether it fits."""
    page.set_viewport_size({"width": 390, "height": 844})

    def fits(path):
        page.goto(path)
        settled(page)
        page.wait_for_function(
            "document.querySelector('[data-testid=stMain]').scrollWidth <= 390"
        )  # once all is laid out
        expect(page.get_by_text(re.compile("Traceback|Something went wrong"))).to_have_count(0)
        return page

    return fits


PATHS = {
    "home": ("/", "/game"),
    "train": ("/train?batch=1&vary=seed%3D0,1",),
    "runs": ("/runs", "/runs?run={best}", "/runs?runs={first},{best}"),
    "data": [f"/data?show={view}" for view in ("classes", "images", "mistakes", "left", "import")],
    "mosaic": [f"/mosaic?look={look}" for look in ("steps", "training", "beside", "fields")],
    "tables": ["/tables?table=1", "{table}", "/tables?table=7", "/tables?table=fig1"],
    "maps": ("/maps?run={first}",),
    "stages": ("/stages?run={first}&closer=gates",),
}


@pytest.mark.parametrize("name", PATHS)
def test_nothing_is_cut_off(narrow, site, name):
    for path in PATHS[name]:
        page = narrow(path.format(**vars(site)))
        if name == "tables":
            expect(page.get_by_role("table")).to_be_visible()


def test_the_result_starts_in_the_first_screen(page, site):
    results = {
        f"/maps?run={site.first}": page.get_by_role("button", name=re.compile("S3: evidence for")),
        f"/perturb?run={site.first}": page.get_by_alt_text(re.compile("as the network sees it")),
        f"/sweeps?sweep={site.sweep.id}": page.locator(".js-plotly-plot"),
    }
    for width, height, most in ((1440, 900, 260), (390, 844, 420)):
        page.set_viewport_size({"width": width, "height": height})
        for path, result in results.items():
            page.goto(path)
            expect(result.first).to_be_visible()
            settled(page)
            assert result.first.bounding_box()["y"] < most, (path, width)


def test_the_maps_of_two_runs_fit(narrow, site):
    page = narrow(f"/maps?tool=severity&run={site.first}&beside={site.second}")
    maps = page.get_by_role("button", name=re.compile("S[345]: evidence for"))
    expect(maps).to_have_count(6)
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= 390 for box in (one.bounding_box() for one in maps.all()))


def test_all_of_a_sweep_is_there_without_scrolling_sideways(narrow, site):
    last = {"perturb?maps=1": "Every output"} | dict.fromkeys(
        (f"sweeps?sweep={site.sweep.id}&part={part}" for part in ("flips", "confusion", "table")), "Report (HTML)"
    )
    for path, words in last.items():
        expect(narrow(f"/{path}").get_by_text(words).last).to_be_visible()


def test_a_wide_table_scrolls_beside_its_first_column(narrow):
    page = narrow("/tables?table=7")
    page.set_viewport_size({"width": 260, "height": 844})
    first, last = page.locator(".numbers thead th").first, page.locator(".numbers thead th").last
    before, hidden = first.bounding_box(), last.bounding_box()
    page.locator(".st-key-paper-table").evaluate("box => box.scrollLeft = 1000")
    assert first.bounding_box()["x"] == before["x"]
    assert last.bounding_box()["x"] < hidden["x"]
