"""The advice about an error goes by the place where it arose."""

import errno

import pytest

from pmsi.base.errors import ConfigError, DataError
from pmsi.runs.failures import describe

FULL = "No space left on device"
BUS = "DataLoader worker (pid 9) is killed by signal: Bus error. It is possible that workers are out of shared memory."
NORM = "Expected more than 1 value per channel when training, got input size [1, 8]"

ERRORS = [
    (RuntimeError(f"unable to allocate shared memory(shm) for file </torch_1_2_0>: {FULL} (28)"), "/dev/shm"),
    (RuntimeError(f"unable to write to file </torch_1_2_0>: {FULL} (28)"), "workers = 0"),
    (RuntimeError(BUS), "--shm-size"),
    (RuntimeError("DataLoader worker (pid 9) is killed by signal: Killed."), "Lower workers"),
    (OSError(errno.ENOSPC, FULL, __file__), f"disk at {__file__}"),
    (RuntimeError(f"[enforce fail] write failed: {FULL}"), "disk at {folder}"),
    (ValueError(NORM), "larger batch_size"),
    (RuntimeError("CUDA out of memory"), "Lower batch_size"),
    (ConfigError("x"), ""),
    (DataError("x"), ""),
]


@pytest.mark.parametrize(("error", "said"), ERRORS)
def test_the_remedy_names_the_place(error, said, tmp_path, monkeypatch):
    monkeypatch.setattr("pmsi.runs.failures.mount_of", lambda path: path)
    about = describe(error, tmp_path)
    assert said.format(folder=tmp_path) in about["remedy"]
    assert about["final"] == isinstance(error, (ValueError, ConfigError))


def test_a_missing_compiler_is_found_behind_what_torch_wraps_around_it():
    error = RuntimeError("backend='inductor' raised:")
    error.__cause__ = RuntimeError("No working C++ compiler found in CppConfig")
    assert describe(error)["kind"] == "NoCompiler"
