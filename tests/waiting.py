"""Other processes: forks that need not import torch anew, free ports, and waiting for events instead of seconds."""

import multiprocessing
import socket
import time

PATIENCE_S = 300.0
"""A deadline that only a hanging test ever meets."""


def until(condition, about=lambda: ""):
    """Return what ``condition`` returns as soon as that is true; ``about`` says more where it never is."""
    end = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < end, f"waited in vain {about()}"
        time.sleep(0.005)
    return found


def forked(function, *words):
    """Start a fork of this process that calls ``function``; it must use no thread of ours."""
    process = multiprocessing.get_context("fork").Process(target=function, args=words)
    process.start()
    return process


def free_port():
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
