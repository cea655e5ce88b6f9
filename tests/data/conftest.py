"""What the tests of data share: a cache of their own, and pictures in files."""

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """The package's cache for this test, beside the test's folder; not there until something is kept."""
    place = tmp_path_factory.mktemp("beside") / "cache"
    monkeypatch.setenv("PMSI_CACHE", str(place))
    return place
