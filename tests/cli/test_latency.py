"""`pmsi latency`: models side by side."""

import json

from pmsi.export.latency import WARM_UP, Timed, measure


def test_rounds_are_interleaved_and_the_first_ones_do_not_count():
    asked = []
    models = [Timed(name, 8, "none", lambda image, name=name: asked.append((name, image.shape)), 0) for name in "ab"]
    found = measure(models, threads=1, rounds=2)
    assert asked == [("a", (3, 8, 8)), ("b", (3, 8, 8))] * (WARM_UP + 2)
    assert all(0 <= latency.low_ms <= latency.median_ms <= latency.high_ms for latency in found)


def test_runs_and_untrained_networks_stand_in_one_table_and_picture(pmsi, tiny_run, tmp_path):
    words = ("--backbone", "tiny", "--method", "baseline", "--image-size", 64, "--rounds", 2, "--json")
    words = (*words, "--plot", tmp_path / "latency.svg")
    status, printed, _ = pmsi("latency", "--all", "--runs", tiny_run.folder.parent, *words)
    rows = json.loads(printed)
    assert status == 0
    assert {row["name"] for row in rows} == {tiny_run.id, "Baseline on tiny"}
    assert [row["median_ms"] for row in rows] == sorted(row["median_ms"] for row in rows)
    (trained,) = (row for row in rows if row["name"] == tiny_run.id)
    result = tiny_run.result()
    assert trained["accuracy"] == result["last"]["accuracy"]["mix"]
    assert trained["test_images"] == result["test_images"]
    drawn = (tmp_path / "latency.svg").read_text()
    assert all(f"<!-- {row['name']}, 64 px" in drawn for row in rows)
    assert pmsi("latency")[0] == 2
