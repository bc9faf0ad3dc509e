"""Values in words: how numbers, widths and durations are said everywhere."""

import math
from collections.abc import Sequence
from typing import Any


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


def shortened(text: str, most: int = 600) -> str:
    """A text whose middle is left out when it is long.

    >>> shortened("abcdefghijklmno", 9)
    'abcde … mno'
    """
    return text if len(text) <= most else f"{text[: most * 5 // 8]} … {text[-most // 3 :]}"


def printable(text: str) -> str:
    r"""A text from a file as a terminal may have it: control characters written out.

    >>> printable("a" + chr(27) + "b") == r"a\x1bb"
    True
    """
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def counted(count: int, noun: str) -> str:
    """So many of something.

    >>> counted(1, "seed"), counted(2, "seed")
    ('1 seed', '2 seeds')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def with_error(value: float, error: float, digits: int = 3) -> str:
    """A number and its error; NaN is what is not known.

    >>> with_error(0.1234, 0.0021), with_error(0.1234, math.nan)
    ('0.123 ± 0.002', '0.123, error not known')
    """
    if math.isnan(value):
        return "not known"
    known = f" ± {error:.1g}" if not math.isnan(error) else ", error not known"
    return f"{value:.{digits}g}{known}"


def mean_with_scatter(values: Sequence[float]) -> str:
    """The mean over seeds ± one standard deviation; of one seed the number alone.

    >>> mean_with_scatter([0.1, 0.3]), mean_with_scatter([0.1])
    ('0.2 ± 0.1', '0.1 (one seed)')
    """
    mean = sum(values) / len(values)
    if len(values) == 1:
        return f"{mean:.4g} (one seed)"
    return f"{mean:.4g} ± {math.sqrt(sum((v - mean) ** 2 for v in values) / len(values)):.1g}"


def sizes_in_words(counts: Sequence[int]) -> str:
    """Numbers of nodes by layer, short."""
    return " × ".join(str(c) if c < 10**7 else f"{c:.0e}" for c in counts)


def duration(seconds: float) -> str:
    """A time in the unit that suits it, to two digits.

    >>> duration(0.123), duration(104.0), duration(7300.0)
    ('0.12 seconds', '100 seconds', '2 hours')
    """
    for name, size in (("years", 3.15e7), ("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * size:
            return f"{float(f'{seconds / size:.2g}'):g} {name}"
    return f"{float(f'{seconds:.2g}'):g} seconds"


def end_in_words(until: float | None) -> str:
    """A time until which a limit describes networks; None or infinite: until the horizon."""
    if until is None or until == math.inf:
        return "the end"
    return "not known" if math.isnan(until) else f"t = {until:.3g}"


def as_json(value: Any) -> Any:
    """As JSON has it: lists in place of tuples, nothing in place of what is not finite.

    >>> as_json({"a": (1.0, math.inf), "b": math.nan})
    {'a': [1.0, None], 'b': None}
    """
    if isinstance(value, dict):
        return {key: as_json(own) for key, own in value.items()}
    if isinstance(value, list | tuple):
        return list(map(as_json, value))
    return None if isinstance(value, float) and not math.isfinite(value) else value
