"""What a benchmark has to say: one row a claim, and how rows are printed and kept.

The rows of a benchmark take the place of its rows before; what others said stays, with its date.
"""

import json
import platform
from datetime import date
from pathlib import Path
from typing import NamedTuple

import jax

RESULTS = Path(__file__).parent / "RESULTS.md"
KEPT = Path(__file__).parent / "results.json"


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


def keep(name: str, rows: list[Row]) -> None:
    """Write the rows of a benchmark to results.json, and all that is there to RESULTS.md."""
    known = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
    machine = f"{platform.machine()}, {jax.device_count()} {jax.default_backend()} device, "
    versions = f"Python {platform.python_version()}, JAX {jax.__version__}"
    known[name] = {"date": str(date.today()), "machine": machine + versions, "rows": rows}
    KEPT.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    text = "# Benchmarks\n\n`make benchmarks`, or `python benchmarks NAME` for one. Ratios are of "
    text += "times measured in one run; (x) marks what was extrapolated.\n"
    for own, found in sorted(known.items()):
        text += f"\n## {own}\n\n{found['date']}; {found['machine']}.\n\n"
        text += lines([Row(*row) for row in found["rows"]]) + "\n"
    RESULTS.write_text(text, encoding="utf-8")
