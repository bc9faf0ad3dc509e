"""How many cores are at hand: fewer than the machine has where a scheduler or another says so."""

import os

THREADS = "WIDELIMIT_THREADS"
"""This variable says how many threads a process may use; workers of a sweep get one each."""


def cores() -> int:
    """The number of cores that this process may use."""
    told = os.environ.get(THREADS, "")
    if told.isdigit() and int(told) > 0:
        return int(told)
    allowed = getattr(os, "sched_getaffinity", None)  # Linux alone tells what a job was given
    return len(allowed(0)) if allowed else os.cpu_count() or 1
