"""Locks die with their holder, and looking at one disturbs nobody; with both kinds of lock."""

import os
import signal
import threading

import pytest

from pmsi.base import locks
from pmsi.base.locks import Lock, is_held, locked

# These forks use no thread of the parent, whatever other tests have started there.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@pytest.fixture(params=[True, False], ids=["ofd", "flock"], autouse=True)
def kind(request, monkeypatch):
    if request.param and not locks.OFD:
        pytest.skip("this system has no OFD locks")
    monkeypatch.setattr(locks, "OFD", request.param)
    monkeypatch.setattr(locks, "RETRY_S", 0.05)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lock"


def hold_in_child(path, then):
    """Take the lock in a forked child, do ``then`` there, and return the child's id once it holds."""
    ready, writing = os.pipe()
    child = os.fork()
    if child == 0:
        Lock(path).take()
        then()
        os.write(writing, b"x")
        signal.pause()
    os.read(ready, 1)
    os.close(ready)
    os.close(writing)
    return child


def kill(child):
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def test_one_holder_at_a_time(path):
    assert not is_held(path)
    assert not path.exists(), "looking makes no file"
    first, second = Lock(path), Lock(path)
    assert first.take()
    assert is_held(path)
    assert not second.take()
    first.release()
    first.release()
    assert not is_held(path)
    assert second.take()
    second.release()


def test_a_child_of_the_holder_does_not_keep_the_lock(path, tmp_path):
    def fork():
        grandchild = os.fork()
        if grandchild == 0:
            signal.pause()
        (tmp_path / "pid").write_text(str(grandchild))

    child = hold_in_child(path, then=fork)
    assert is_held(path), "the fork did not drop the lock either"
    assert not Lock(path).take()
    kill(child)
    assert not is_held(path)
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_a_forked_child_does_not_hold_it(path):
    lock = Lock(path)
    lock.take()
    child = os.fork()
    if child == 0:
        lock.release()
        os._exit(0)
    os.waitpid(child, 0)
    assert is_held(path)
    lock.release()


def test_looking_does_not_get_in_the_way_of_taking(path, monkeypatch):
    monkeypatch.setattr(locks, "RETRY_S", 10.0)
    path.touch()
    done = threading.Event()

    def look():
        while not done.is_set():
            is_held(path)

    lookers = [threading.Thread(target=look) for _ in range(4)]
    for looker in lookers:
        looker.start()
    try:
        for _ in range(100):
            lock = Lock(path)
            assert lock.take()
            lock.release()
    finally:
        done.set()
        for looker in lookers:
            looker.join()


def test_waiting_for_the_holder(path):
    counter = [0]

    def count():
        for _ in range(20):
            with locked(path):
                before = counter[0]
                os.sched_yield()
                counter[0] = before + 1

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter == [80]
