"""What hostile input costs at most: made by mutation and by construction, each tried in a child process.

    python -m benchmarks.abuse
    python -m benchmarks.abuse --only pictures archives --count 100 --seed 1

Pictures go through the decoding of uploads, archives through the check of an import, runs' files through the list of
runs and what pages read of them, addresses through a page in a read-only app, weights through the check of a training
run. The child's peak memory counts beyond what it had at first; so do its seconds of CPU. Fails where anything but a
refusal in words comes out, where a child dies, or where a limit is exceeded.
"""

import argparse
import logging
import sys
import time
from collections.abc import Iterator

import numpy as np
import torch

from benchmarks.abuse.addresses import ADDRESSES
from benchmarks.abuse.archives import ARCHIVES
from benchmarks.abuse.kind import MB, Kind
from benchmarks.abuse.pictures import PICTURES
from benchmarks.abuse.runs import RUNS
from benchmarks.abuse.trying import Found, fuzz
from benchmarks.abuse.weights import WEIGHTS

KINDS: dict[str, Kind] = {
    "pictures": PICTURES, "archives": ARCHIVES, "runs": RUNS, "addresses": ADDRESSES, "weights": WEIGHTS,
}  # fmt: skip


def lines(name: str, found: Found, took_s: float) -> Iterator[str]:
    """Yield what was found, and whether it is within the limits."""
    kind = KINDS[name]
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in sorted(found.outcomes.items()))
    yield f"{name}: {sum(found.outcomes.values())} tried in {took_s:.0f} s: {outcomes}"
    for title, (value, which), most, unit in (
        ("memory", (found.memory[0] / MB, found.memory[1]), kind.bytes / MB, "MB"),
        ("CPU", found.cpu_s, kind.cpu_s, "s"),
    ):
        said = "within" if value <= most else "ABOVE"
        yield f"  most {title}: {value:.1f} {unit} at {which}, {said} {most:g} {unit}"
    yield from (f"  {fault}" for fault in found.faults[:10])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--count", type=int, help="Inputs of each kind, by default its own number.")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.CRITICAL)
    np.seterr(all="ignore")
    good = True
    for name in options.only:
        started = time.monotonic()
        found = fuzz(name, KINDS[name], options.count or KINDS[name].count, options.seed)
        print("\n".join(lines(name, found, time.monotonic() - started)), flush=True)
        kind = KINDS[name]
        good &= not found.faults and found.memory[0] <= kind.bytes and found.cpu_s[0] <= kind.cpu_s
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
