"""Latency on the Numbers page: what is measured is what was chosen, and all of it is shown."""

import json

from pages import sound

from app.views.numbers import latency


def test_the_chosen_runs_are_measured_and_shown_by_engine(open_page, make_run, monkeypatch):
    first, second = make_run().id, make_run(seed=1).id
    row = {"side": 64, "bytes": 1e6, "macs": 1e6, "median_ms": 2.5, "low_ms": 2.0, "high_ms": 3.0, "test_images": 12}
    said = [
        row | {"name": first, "engine": "torch", "accuracy": 0.5},
        row | {"name": first, "engine": "ONNX Runtime", "accuracy": None},
    ]
    asked = []
    monkeypatch.setattr(latency, "printed", lambda words, patience: asked.append(words) or json.dumps(said))
    test = open_page("numbers", section="latency", run=first)
    test.multiselect(key="latency-runs").set_value([first]).run()
    next(button for button in test.button if button.label == "Measure").click().run()
    sound(test)
    assert first in asked[0]
    assert second not in asked[0]
    assert list(test.dataframe[0].value["Engine"]) == ["torch", "ONNX Runtime"]
    assert list(test.dataframe[0].value["Accuracy"]) == ["50.0 % of 12", ""]
    assert [trace.y[0] for trace in latency.figure(said, {first: "a"}, {}).data] == [50, 0]
