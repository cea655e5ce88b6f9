"""The maps page in a browser: a click enlarges a map, arrow keys move through severities, and nothing is cut off."""

import re

import pytest

pytest.importorskip("playwright", reason="Playwright is not installed, so the browser tests are left out.")

import driving
from driving import loaded
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


@pytest.fixture(scope="module")
def run():
    """The id of a run whose model was never trained."""
    import torch

    from pmsi.config import TrainConfig
    from pmsi.data.plumage.species import SPECIES
    from pmsi.engine.checkpoint import CHECKPOINT, save_checkpoint
    from pmsi.methods import build
    from pmsi.runs import Run

    def made(root):
        config = TrainConfig(backbone="tiny", weights="none", image_size=64, channels=16, hidden=8)
        run, model = Run.create(root, config), build(config, len(SPECIES))
        about = {"epoch": 1, "step": 0, "config": config.to_dict(), "classes": [species.name for species in SPECIES]}
        save_checkpoint(run.checkpoints / CHECKPOINT, model, torch.optim.SGD(model.parameters(), lr=0.1), about)
        return run.id

    return made


@pytest.fixture(scope="module")
def address(chromium, tmp_path_factory, run):
    """The address of the app, served with that run."""
    runs = tmp_path_factory.mktemp("maps")
    run(runs)
    with driving.serving(runs) as address:
        yield address


def test_a_click_enlarges_a_map_and_the_link_to_it_opens_it_again(page):
    page.goto("/maps?more=class&count=1")
    map_of_s4 = page.get_by_role("button", name=re.compile(r"S4: evidence for")).first
    loaded(map_of_s4.locator("img"))
    map_of_s4.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("Map of 4 × 4")).to_be_visible()
    expect(dialog.get_by_role("cell", name="Random maps")).to_be_visible()
    page.wait_for_url(re.compile(r"zoom=0\.0\.S4"))
    page.reload()
    expect(page.get_by_role("dialog").get_by_text("Map of 4 × 4")).to_be_visible()
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page).not_to_have_url(re.compile("zoom="))
    page.get_by_role("button", name=re.compile(r"S5: evidence for")).last.click()
    expect(page.get_by_role("dialog").get_by_text("Map of 2 × 2")).to_be_visible()


def test_keys_move_through_severities_without_the_server(page):
    page.goto("/maps?tool=severity&perturbation=gaussian_noise")
    slider = page.get_by_role("slider", name="Severity")
    image = page.get_by_role("img", name=re.compile("^Image, σ"))
    clean = loaded(image)
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuetext", "σ = 5")
    expect(image).not_to_have_attribute("src", clean)
    page.keyboard.press("End")
    expect(slider).to_have_attribute("aria-valuetext", "σ = 40")
    page.keyboard.press("Home")
    expect(image).to_have_attribute("src", clean)
    page.keyboard.press(" ")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    expect(slider).to_have_attribute("aria-valuetext", "σ = 10")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Play")).to_be_visible()


def test_in_a_narrow_window_the_grid_scrolls_and_the_page_does_not(page):
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto("/maps?tool=severity")
    grid = page.get_by_role("region", name="Maps by image, run and stage")
    expect(grid).to_be_visible()
    assert grid.evaluate("grid => grid.scrollWidth > grid.clientWidth")
    assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= 390
    last = page.get_by_role("button", name=re.compile("S5: evidence for"))
    last.scroll_into_view_if_needed()
    expect(last).to_be_in_viewport()
    expect(grid.get_by_role("img").first).to_be_in_viewport()
