"""Values in words: how numbers, widths and durations are said everywhere."""

from collections.abc import Sequence
from typing import Any


def shape_name(widths: Sequence[int]) -> str:
    """The widths of the layers: one number if they are all the same."""
    return str(widths[0]) if len(set(widths)) == 1 else " × ".join(map(str, widths))


def layers_in_words(layers: Sequence[int]) -> str:
    """Hidden layers by their numbers.

    >>> layers_in_words([2]), layers_in_words([2, 3, 4])
    ('hidden layer 2', 'hidden layers 2, 3 and 4')
    """
    *first, last = map(str, layers)
    return f"hidden layers {', '.join(first)} and {last}" if first else f"hidden layer {last}"


def shown(value: Any) -> str:
    """A value as it was found, cut short when it is long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def sizes_in_words(counts: Sequence[int]) -> str:
    """Numbers of nodes by layer, short."""
    return " × ".join(str(c) if c < 10**7 else f"{c:.0e}" for c in counts)


def duration(seconds: float) -> str:
    """A time in the unit that suits it."""
    for name, size in (("years", 3.15e7), ("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.2g} {name}"
    return f"{seconds:.2g} seconds"
