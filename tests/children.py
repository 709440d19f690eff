"""Processes that a test must leave none of."""

import os
import time
from pathlib import Path


def children(of=None):
    """Process ids of the living descendants of a process (of this one)."""
    found, left = [], [of or os.getpid()]
    while left:
        for path in Path(f"/proc/{left.pop()}/task").glob("*/children"):
            own = [int(pid) for pid in path.read_text().split()]
            found += [pid for pid in own if _state(pid) not in {"Z", None}]
            left += own
    return found


def ended(pids, within=10.0):
    """Whether none of some processes is left soon."""
    until = time.monotonic() + within
    while any(_state(pid) not in {"Z", None} for pid in pids):
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def _state(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return None
