"""A run on a real one-node Slurm, submitted, watched, stopped and resumed in Chromium."""

import json
import re

import pytest

pytest.importorskip("playwright", reason="Playwright is not installed, so the browser tests are left out.")

from driving import QUICK_S, expect_state, serving, short_run
from driving import start as start_training
from playwright.sync_api import expect
from slurm_node import missing, slurm_node

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slurm,
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(bool(missing()), reason=f"Slurm is not installed here: no {', '.join(missing())}"),
]
SECONDS = 20


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The runs folder of that app."""
    return tmp_path_factory.mktemp("slurm-runs")


@pytest.fixture(scope="module")
def address(chromium, root, tmp_path_factory):
    """The address of an app whose machine has Slurm."""
    with slurm_node(tmp_path_factory.mktemp("slurm")) as config, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(config))
        with serving(root) as address:
            yield address


def job(root):
    """The number of the job that last had the only run."""
    return json.loads(next(root.glob("*/slurm.json")).read_text())["job"]


def test_a_run_is_submitted_to_slurm_watched_stopped_and_resumed(page, root):
    page.goto("/train")
    short_run(page, epochs=500)
    page.get_by_role("combobox", name="Worked on by").click()
    page.get_by_role("option", name="Slurm").click()
    start_training(page)
    expect(page.get_by_text(re.compile(r"Slurm job \d+")).first).to_be_visible(timeout=SECONDS * 1000)
    trained = page.get_by_text(re.compile(r"epoch \d+ of 500")).first
    expect(trained).to_be_visible(timeout=QUICK_S * 1000)
    page.get_by_role("button", name="Stop").first.click()
    page.get_by_role("button", name="Stop this run").click()
    expect_state(page, "stopped", SECONDS)
    first = job(root)
    page.get_by_role("button", name="Resume").click()
    expect_state(page, "running", QUICK_S)
    expect(trained).to_be_visible(timeout=QUICK_S * 1000)
    assert job(root) != first
    page.get_by_role("button", name="Stop").first.click()
    page.get_by_role("button", name="Stop this run").click()
    expect_state(page, "stopped", SECONDS)
