"""The robustness page in Chromium: a slider on the bench, a click into a confusion matrix, a link, a narrow window."""

import re

import pytest

pytest.importorskip("playwright", reason="Playwright is not installed, so the browser tests are left out.")

from driving import expect_other_pixels, loaded, serving
from playwright.sync_api import expect

from pmsi import tasks
from pmsi.config import RobustnessConfig
from pmsi.robustness.page import as_html
from pmsi.robustness.results import read_results
from pmsi.runs import Run

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory, tiny_config):
    """A finished sweep over two runs trained for seconds."""
    root = tmp_path_factory.mktemp("runs")
    trained = [Run.create(root, tiny_config.with_(seed=seed, epochs=1)) for seed in (0, 1)]
    sweep = Run.create(root, RobustnessConfig(of=tuple(run.id for run in trained), perturbations=("color_jitter=1",)))
    for run in (*trained, sweep):
        assert tasks.execute(run).name == "FINISHED"
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


def test_the_form_of_a_sweep_is_in_its_link(page, sweep):
    page.goto("/robustness")
    page.get_by_role("radio", name="All test images: sweeps").click()
    page.get_by_text("New sweep", exact=True).click()
    page.get_by_role("radio", name="Cameras and the web").click()
    levels = page.get_by_role("textbox", name="Severities of some of them")
    levels.fill("jpeg=80")
    levels.press("Enter")
    command = page.get_by_test_id("stCode")
    expect(command).to_contain_text("--perturbations jpeg=80 resolution rotation occlusion")
    expect(page).to_have_url(re.compile(r"sweep-preset=capture&.*sweep-levels=jpeg"))
    page.reload()
    expect(command).to_contain_text("--perturbations jpeg=80 resolution rotation occlusion")
    expect(page.get_by_role("button", name="Start the sweep")).to_be_enabled()


@pytest.mark.parametrize("query", ["part=flips", "part=confusion", "part=table", "view=image&maps=1"])
def test_a_narrow_window_shows_all_without_scrolling_sideways(page, sweep, query):
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"/robustness?sweep={sweep.id}&{query}")
    last = page.get_by_text("Every output") if "image" in query else page.get_by_role("button", name="Report (HTML)")
    expect(last).to_be_visible()
    assert page.get_by_test_id("stMain").evaluate("main => main.scrollWidth <= main.clientWidth")


def test_the_report_as_a_file_can_be_read_on_a_phone(page, sweep, tmp_path):
    file = tmp_path / "sweep.html"
    file.write_text(
        as_html(read_results(sweep), command="pmsi robustness " + "a-long-name-of-a-run " * 3), encoding="utf-8"
    )
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    heights = page.locator(".wide td:visible").evaluate_all("cells => cells.map(cell => cell.offsetHeight)")
    assert len(heights) > 10
    assert max(heights) < 50, "a cell of a table is one line, which scrolls sideways"
    page.get_by_text("Every output").first.click()
    expect(page.get_by_role("cell", name="S3", exact=True).first).to_be_visible()
