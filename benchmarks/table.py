"""What a benchmark has to say: one row a claim, and how rows are printed and kept."""

import platform
from datetime import date
from pathlib import Path
from typing import NamedTuple

import jax

RESULTS = Path(__file__).parent / "RESULTS.md"


class Row(NamedTuple):
    """A claim, what was asked of it, what was measured in this run, and how."""

    claim: str
    asked: str
    reached: str
    how: str


def lines(rows: list[Row]) -> str:
    """The rows as a Markdown table."""
    head = "| claim | asked | reached | how |\n|---|---|---|---|"
    return "\n".join([head, *(f"| {' | '.join(row)} |" for row in rows)])


def keep(rows: list[Row]) -> None:
    """Write the table to RESULTS.md."""
    machine = f"{platform.machine()}, {jax.device_count()} {jax.default_backend()} device, "
    versions = f"Python {platform.python_version()}, JAX {jax.__version__}"
    text = f"# Benchmarks\n\n`make benchmarks` on {date.today()}; {machine}{versions}.\n"
    text += "Ratios are of times measured in one run; (x) marks what was extrapolated.\n\n"
    RESULTS.write_text(f"{text}{lines(rows)}\n", encoding="utf-8")
