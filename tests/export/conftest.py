"""What the tests of exports share: one file of the trained tiny run."""

import pytest

from pmsi.export.formats import export


@pytest.fixture(scope="session")
def exported(tiny_run, tmp_path_factory):
    """`tiny_run` as an ONNX file in half precision; tests read it."""
    path = tmp_path_factory.mktemp("exported") / "bird.onnx"
    export(tiny_run, path, "float16")
    return path
