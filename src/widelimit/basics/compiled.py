"""Compiled code takes memory maps, of which a process may have 65,530 on Linux."""

from pathlib import Path

import equinox as eqx
import jax

MOST_MAPS = 25_000
"""From so many on what was compiled is forgotten: more than half is left for the next work."""


def make_room() -> None:
    """Forget compiled code if there is very much of it; what is needed is compiled again.

    A process that has seen hundreds of shapes would otherwise end in a crash ("Unable to allocate
    section memory").
    """
    maps = Path("/proc/self/maps")
    if maps.is_file() and maps.read_bytes().count(b"\n") > MOST_MAPS:
        eqx.clear_caches()
        jax.clear_caches()
