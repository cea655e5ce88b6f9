"""Killing a process at a chosen file operation: SIGKILL where it opens, renames, removes or locks a file."""

import os
import signal
import sys

OPERATIONS = ("open", "os.rename", "os.remove", "os.mkdir", "fcntl.fcntl")


def die_at(number, action):
    """Do ``action`` in a forked child that kills itself before file operation ``number``; return whether it died."""
    child = os.fork()
    if child == 0:
        count = [0]

        def hook(event, _args):
            if event in OPERATIONS:
                count[0] += 1
                if count[0] == number:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        code = 1
        try:
            action()
            code = 0
        finally:
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL)
    return status != 0


def deaths(prepare, action):
    """Yield what ``prepare`` returns after ``action`` on it died at its first operation, its second, …, and not."""
    for number in range(1, 500):
        prepared = prepare()
        died = die_at(number, lambda prepared=prepared: action(prepared))
        yield prepared
        if not died:
            assert number > 3, "the hook saw something"
            return
