"""The memory that the server may take: PMSI_MEMORY, and what is done to stay within."""

import os
import re

from pmsi.base.errors import ConfigError

MEMORY = "PMSI_MEMORY"
"""Environment: the bytes that the server may take beyond its loaded libraries, such as 2G or 512M."""
UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}
DEFAULT = "2G"


def budget() -> int:
    """Return the bytes that the server may take; raises ConfigError."""
    text = os.environ.get(MEMORY) or DEFAULT
    found = re.fullmatch(r"(\d{1,6}) ?([KMG])(I?B)?", text.strip().upper())
    if found is None or not int(found[1]):
        raise ConfigError(f"{MEMORY} = {text!r}: expected a number with its unit, such as 512M or 2G.")
    return int(found[1]) * UNITS[found[2]]
