"""A run answers by torch at once, and by its graph as soon as that was made in the background."""

from types import SimpleNamespace

from app.shared import cached_models, memory
from app.shared.background import Background
from app.shared.cached_models import predictor_of
from pmsi.predictor import Predictor


def test_the_graph_takes_over_when_it_is_made(make_run, monkeypatch):
    asked = {}

    class Later(Background):
        def ask(self, key, words, then=lambda: None):
            asked.setdefault(key, (words, then))

    monkeypatch.setattr(cached_models, "BACKGROUND", Later())
    monkeypatch.setattr(cached_models, "may_have_graph", lambda model: True)
    run = make_run()
    predictor_of(run)
    assert not asked, "a network so small is quick anyway"
    monkeypatch.setattr(cached_models, "WORTH", 0)
    before = predictor_of(run)
    assert before is predictor_of(run)
    ((words, then),) = asked.values()
    assert words == ["pmsi.graph", str(run.folder)]
    load, opened = Predictor.load, []

    def loaded(run):
        predictor = load(run)
        predictor.graph = SimpleNamespace(size=1000, open=lambda *entries: opened.extend(entries))
        return predictor

    monkeypatch.setattr(Predictor, "load", staticmethod(loaded))
    then()
    after = predictor_of(run)
    assert after.graph is not None
    assert opened == ["answer", "explain"]
    assert cached_models._size_of_model(after) > cached_models._size_of_model(before)
    memory.forget()
    monkeypatch.setattr(cached_models, "GRAPH_TAKES", 10**9)
    assert predictor_of(run).graph is None, "it would push out all else"
