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


def test_what_is_no_entry_is_refused():
    with pytest.raises(UnknownName, match="rotation"):
        severities_of("rust=1")
    for entry in ("rotation=", "rotation=a"):
        with pytest.raises(ConfigError, match="rotation=10,20"):
            severities_of(entry)
    for entry in ("rotation=-1", "gaussian_noise=nan"):
        with pytest.raises(ConfigError, match="from 0"):
            severities_of(entry)
