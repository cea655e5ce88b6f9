"""The titles of methods, for names of runs: METHODS has them too, and imports torch."""

METHOD_TITLES = {
    "baseline": "Baseline",
    "m": "+ M",
    "p": "+ P",
    "pm": "+ P & M",
    "pr": "+ P & R",
    "bcnn": "B-CNN",
    "hbp": "HBP",
    "pc": "PC",
    "api": "API-Net",
    "pmg": "PMG",
    "pmr": "RMG-PMSI",
}


def method_title(method: str) -> str:
    """Return the title of a method; its key where it is a method of one's own."""
    return METHOD_TITLES.get(method, method)
