"""Warm wall times: compiled first, then the best of a few runs."""

import time
from collections.abc import Callable
from typing import Any

import jax


def best(call: Callable[[], Any], runs: int = 3) -> float:
    """Seconds of the fastest of `runs` calls, after one that is not counted."""
    jax.block_until_ready(call())
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        jax.block_until_ready(call())
        seconds.append(time.perf_counter() - started)
    return min(seconds)
