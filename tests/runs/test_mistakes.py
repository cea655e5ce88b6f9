"""What a run got wrong, against plain loops over its answers."""

import json

import pytest
from untrained import answer, untrained

from pmsi.base.errors import RunError, UnknownName
from pmsi.data import open_dataset
from pmsi.runs import Run
from pmsi.runs.mistakes import confidently_wrong, confusions, hardest, has_predictions, read_predictions, rescued

LABELS = [0, 0, 0, 1, 1, 1, 2, 2, 2]
MIX = [0, 1, 1, 1, 0, 1, 2, 2, 0]
S5 = [0, 1, 2, 1, 0, 0, 2, 1, 0]
TRUTH = [0.9, 0.1, 0.3, 0.8, 0.2, 0.55, 0.7, 0.4, 0.05]
CONFIDENCE = [0.9, 0.8, 0.6, 0.8, 0.7, 0.55, 0.7, 0.4, 0.95]
KEYS = [f"test/{i}" for i in range(9)]


@pytest.fixture
def answered(tmp_path, tiny_config):
    """Make a run with these answers, and what else is given."""

    def made(**more):
        run = Run.create(tmp_path / "runs", tiny_config)
        stored = {"classes": ["a", "b", "c"], "keys": KEYS, "labels": LABELS, "predicted": {"S5": S5, "mix": MIX}}
        (run.folder / "predictions.json").write_text(json.dumps(stored | more))
        return run

    return made


def probabilities(mix):
    return {"S5": [0.5] * 9, "mix": mix}


def numbers(found):
    return [int(answer.key.removeprefix("test/")) for answer in found]


def test_the_hardest_come_first_by_the_probability_of_the_truth(answered):
    answers = read_predictions(answered(truth=probabilities(TRUTH), confidence=probabilities(CONFIDENCE)))
    found = hardest(answers, "mix")
    assert numbers(found) == sorted(range(9), key=TRUTH.__getitem__)
    assert [answer.truth for answer in found] == sorted(TRUTH)


def test_without_probabilities_the_heads_are_counted(answered):
    found = hardest(read_predictions(answered()), "mix")
    right = [(MIX[i] == LABELS[i]) + (S5[i] == LABELS[i]) for i in range(9)]
    assert [answer.heads_right for answer in found] == sorted(right)
    assert sorted(numbers(found)) == list(range(9))
    assert numbers(found)[:4] == [1, 2, 4, 8]


def test_sure_and_wrong_are_the_wrong_ones_by_confidence(answered):
    answers = read_predictions(answered(truth=probabilities(TRUTH), confidence=probabilities(CONFIDENCE)))
    wrong = [i for i in range(9) if MIX[i] != LABELS[i]]
    assert numbers(confidently_wrong(answers, "mix")) == sorted(wrong, key=lambda i: -CONFIDENCE[i])
    agreed = confidently_wrong(read_predictions(answered()), "mix")
    assert numbers(agreed) == [1, 4, 8, 2]  # two heads say the same of the first three


def test_those_that_the_first_output_got_wrong_and_another_right_come_by_how_wrong_it_was(answered):
    truth = {"S5": TRUTH, "mix": [0.5] * 9}
    answers = read_predictions(answered(truth=truth, confidence=truth))
    saved = [i for i in range(9) if S5[i] != LABELS[i] == MIX[i]]
    assert len(saved) > 1
    assert numbers(rescued(answers, "mix")) == sorted(saved, key=TRUTH.__getitem__)
    assert rescued(answers, "S5") == []


def test_confused_classes_are_counted_both_ways(answered):
    found = confusions(read_predictions(answered()), "mix")
    expected = {}
    for key, truth, given in zip(KEYS, LABELS, MIX, strict=True):
        if truth != given:
            expected.setdefault((min(truth, given), max(truth, given)), []).append(key)
    assert {(pair.a, pair.b): sorted((*pair.a_as_b, *pair.b_as_a)) for pair in found} == expected
    assert [(pair.a, pair.b, pair.count, pair.images) for pair in found] == [(0, 1, 3, 6), (0, 2, 1, 6)]
    assert found[0].a_as_b == ("test/1", "test/2")
    assert found[1].b_as_a == ("test/8",)


@pytest.mark.parametrize(
    "damage",
    [
        {"keys": KEYS[:3]},
        {"predicted": {"mix": MIX[:2]}},
        {"predicted": {}},
        {"predicted": {"mix": ["a"] * 9}},
        {"labels": None},
        {"truth": {"mix": [0.5], "S5": [0.5]}},
    ],
)
def test_damaged_answers_are_refused_by_name(answered, damage):
    with pytest.raises(RunError, match=r"predictions\.json cannot be read"):
        read_predictions(answered(**damage))


def test_a_run_without_answers_says_when_they_come(tmp_path, tiny_config, answered):
    run = Run.create(tmp_path / "runs", tiny_config)
    assert not has_predictions(run)
    assert has_predictions(answered())
    with pytest.raises(RunError, match="is written when a run finishes"):
        read_predictions(run)
    with pytest.raises(UnknownName, match="'S9'"):
        hardest(read_predictions(answered()), "S9")


def test_the_command_lists_what_is_hardest(tmp_path, tiny_config, pmsi):
    run = untrained(tmp_path, tiny_config)
    test, classes = open_dataset(tiny_config).test, open_dataset(tiny_config).classes
    answer(run, {sample.key: 1 for sample in test if sample.label == 0})
    words = ["data", "mistakes", run.id, "--runs", tmp_path]
    status, out, _ = pmsi(*words, "--count", 1)
    assert status == 0
    assert f"{test[0].key}: {classes[0]}, taken for {classes[1]}" in out
    assert f"1 of 2  {classes[0]} and {classes[1]}" in out
    assert json.loads(pmsi(*words, "--json")[1])["hardest"][0]["key"] == test[0].key
    sure = {"keys": ["a", "b"], "labels": [0, 0], "predicted": {"mix": [1, 1]}}
    sure |= {"truth": {"mix": [0.1, 0.2]}, "confidence": {"mix": [0.7, 0.8]}}
    (run.folder / "predictions.json").write_text(json.dumps(sure))
    assert "  a: " in pmsi(*words, "--count", 1, "--order", "hardest")[1]
    out = pmsi(*words, "--count", 1, "--order", "sure")[1]
    assert f"  b: {classes[0]}, taken for {classes[1]}, p = 0.800, of the truth 0.200" in out
