"""What visitors may do: everything, or, in a public demo, only look.

``PMSI_READ_ONLY=1`` makes the app read-only: pages show and compute, but nothing is started, stopped, renamed, deleted,
imported or otherwise written. Pages ask `read_only` before they offer such a thing, and whatever does it calls
`require_writable` first.
"""

import os

from pmsi.errors import PMSIError

READ_ONLY = "PMSI_READ_ONLY"
"""Environment: 1 where visitors may only look."""


class ReadOnlyError(PMSIError):
    """Something was to be written in a read-only app."""


def read_only() -> bool:
    """Return whether visitors may only look."""
    return os.environ.get(READ_ONLY, "") not in ("", "0")


def require_writable() -> None:
    """Raise ReadOnlyError in a read-only app."""
    if read_only():
        raise ReadOnlyError(
            "This app is read-only: nothing can be started or changed here. Run it on your own machine for that."
        )
