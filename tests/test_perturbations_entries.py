"""Perturbations as they are typed."""

import pytest

from pmsi.base.errors import ConfigError, UnknownName
from pmsi.perturbations import PERTURBATIONS
from pmsi.perturbations.entries import severities_of


def test_an_entry_is_a_name_with_or_without_severities():
    assert severities_of("rotation=10,20.5") == [("rotation", 10.0), ("rotation", 20.5)]
    assert severities_of("jpeg") == [("jpeg", level) for level in PERTURBATIONS["jpeg"].levels]
    assert severities_of("jpeg", usual=(30,)) == [("jpeg", 30.0)]
    assert severities_of("jpeg=40", usual=(30,)) == [("jpeg", 40.0)]
    assert str(severities_of("rotation=-0.0")) == "[('rotation', 0.0)]"


@pytest.mark.parametrize(
    ("entry", "kind", "words"),
    [
        ("rust=1", UnknownName, "rotation"),
        ("rotation=", ConfigError, "rotation=10,20"),
        ("rotation=a", ConfigError, "rotation=10,20"),
        ("rotation=-1", ConfigError, "from 0"),
        ("gaussian_noise=nan", ConfigError, "from 0"),
    ],
)
def test_what_is_no_entry_is_refused(entry, kind, words):
    with pytest.raises(kind, match=words):
        severities_of(entry)
