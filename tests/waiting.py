"""Waiting for what another process does: for an event, with a deadline that only a hanging test ever meets."""

import time

PATIENCE_S = 300.0


def until(condition, about=lambda: ""):
    """Return what ``condition`` returns as soon as that is true; ``about`` says more where it never is."""
    end = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < end, f"waited in vain {about()}"
        time.sleep(0.005)
    return found
