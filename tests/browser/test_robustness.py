"""The robustness page in Chromium: a slider on the bench, a click into a confusion matrix, a link, a narrow window."""

import re

import pytest

pytest.importorskip("playwright", reason="Playwright is not installed, so the browser tests are left out.")

from driving import expect_other_pixels, loaded, serving
from playwright.sync_api import expect

from pmsi import jobs
from pmsi.config import RobustnessConfig
from pmsi.runs import Run

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory, tiny_config):
    """A finished sweep over two runs trained for seconds."""
    root = tmp_path_factory.mktemp("runs")
    trained = [Run.create(root, tiny_config.with_(seed=seed, epochs=1)) for seed in (0, 1)]
    sweep = Run.create(root, RobustnessConfig(of=tuple(run.id for run in trained), perturbations=("color_jitter=1",)))
    for run in (*trained, sweep):
        assert jobs.execute(run).name == "FINISHED"
    return sweep


@pytest.fixture(scope="module")
def address(chromium, sweep):
    """The address of the app, served with that sweep."""
    with serving(sweep.folder.parent) as address:
        yield address


def test_a_slider_changes_pixels_and_its_link_shows_the_same(page, sweep):
    first, second = sweep.config.of
    page.goto(f"/robustness?run={first}&beside={second}&kind=Capture&what=jpeg")
    after = page.get_by_alt_text(re.compile("image .*JPEG, 100 − q = 80"))
    before = loaded(after)
    slider = page.get_by_role("slider", name=re.compile("100 − q"))
    slider.focus()
    slider.press("End")
    worst = page.get_by_alt_text(re.compile("image .*JPEG, 100 − q = 95"))
    changed = expect_other_pixels(worst, before)
    expect(page).to_have_url(re.compile("at-jpeg=95"))
    expect(page.get_by_text("Probability at output")).to_have_count(2)
    page.reload()
    assert loaded(worst) == changed


def test_a_click_into_the_matrix_opens_the_images_behind_it(page, sweep):
    page.goto(f"/robustness?sweep={sweep.id}&part=confusion")
    numbers = page.locator(".js-plotly-plot .scatterlayer text")
    expect(numbers.first).to_be_visible()
    numbers.last.scroll_into_view_if_needed()
    box = numbers.last.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(page).to_have_url(re.compile(r"clicked=\d+-\d+"))
    row, column = re.search(r"clicked=(\d+)-(\d+)", page.url).groups()
    expect(page).to_have_url(re.compile(rf"place={row}-{column}"))
    loaded(page.get_by_alt_text(re.compile("Colour jitter, k = 1$")).last)


def test_a_narrow_window_shows_all_without_scrolling_sideways(page, sweep):
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"/robustness?sweep={sweep.id}&part=flips&maps=1")
    expect(page.get_by_role("button", name="Report (HTML)")).to_be_visible()
    assert page.get_by_test_id("stMain").evaluate("main => main.scrollWidth <= main.clientWidth")
