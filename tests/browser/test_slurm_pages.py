"""A run on a real one-node Slurm, submitted, watched, stopped and resumed in Chromium."""

import json
import re

import pytest
from driving import QUICK_S, expect_state, serving, settled, short_run, start, stop
from playwright.sync_api import expect
from slurm_node import missing, slurm_node

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slurm,
    pytest.mark.skipif(bool(missing()), reason=f"Slurm is not installed here: no {', '.join(missing())}"),
]


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


def test_a_run_is_submitted_to_slurm_watched_stopped_and_resumed(page, root):
    def job():
        return json.loads(next(root.glob("*/slurm.json")).read_text())["job"]

    page.goto("/train")
    settled(page)
    page.get_by_role("combobox", name="Worked on by").click()
    page.get_by_role("option", name="Slurm").click()
    short_run(page, epochs=500)
    start(page)
    expect(page.get_by_text(re.compile(r"Slurm job \d+")).first).to_be_visible()
    trained = page.get_by_text(re.compile(r"epoch \d+ of 500")).first
    expect(trained).to_be_visible(timeout=QUICK_S * 1000)
    stop(page)
    first = job()
    page.get_by_role("button", name="Resume").click()
    expect_state(page, "running")
    assert job() != first
    stop(page)
