"""What commands do with tables of runs. Heavy imports wait until needed."""

import json
from pathlib import Path
from typing import Any

from widelimit.command.answer import Answer

MOST_LINES = 12
"""So many values are printed; all are in the files."""


def transfer(runs: Path, metric: str | None, output: Path, overwrite: bool, answer: Answer) -> None:
    """The best learning rate by width and at infinite width; transfer.nc, transfer.json, a page.

    Raises `ProblemError` for tables that cannot be read.
    """
    from widelimit.report.runs.page import render_transfer
    from widelimit.results.folders.tablefolder import TableFolder
    from widelimit.runs.table import read_runs
    from widelimit.runs.transfer import lines, transfer

    table, folder = read_runs(runs, metric and [metric]), TableFolder(output, "transfer")
    found = transfer(table)
    digest = folder.prepare(table.table.to_csv(), overwrite)
    page = folder.save(found.dataset, found.as_dict(), render_transfer(found), digest)
    answer.warn(found.warnings)
    answer.met = found.met
    answer.own |= found.as_dict() | {"report": str(page)}
    answer.lines += [*lines(found), f"report    {page.resolve()}"]


def extrapolate(
    runs: Path, metrics: list[str] | None, output: Path, overwrite: bool, answer: Answer
) -> None:
    """Metrics of runs at infinite width; extrapolation.nc, extrapolation.json and a page.

    Raises `ProblemError` for tables that cannot be read.
    """
    from widelimit.report.runs.page import render_extrapolation
    from widelimit.results.folders.tablefolder import TableFolder
    from widelimit.runs.extrapolation import extrapolate, in_words
    from widelimit.runs.table import read_runs

    table, folder = read_runs(runs, metrics), TableFolder(output, "extrapolation")
    digest = folder.prepare(table.table.to_csv(), overwrite)
    found = extrapolate(table)
    page = folder.save(found.dataset, found.as_dict(), render_extrapolation(found), digest)
    answer.warn(found.warnings)
    answer.met = found.met
    answer.own |= {"metrics": found.as_dict(), "report": str(page)}
    answer.lines += [in_words(entry) for entry in found.entries[-MOST_LINES:]]
    if more := len(found.entries[:-MOST_LINES]):
        answer.lines.insert(0, f"({more} earlier values are in {output / 'extrapolation.json'})")
    answer.lines.append(f"report    {page.resolve()}")


def coordinate_check(
    given: Path, asked: dict[str, Any], output: Path, overwrite: bool, answer: Answer
) -> None:
    """Sizes over widths of a problem's networks, or in a table; coordinates.nc, .json and a page.

    Raises `ProblemError` for problems whose networks take no steps, and for wrong tables.
    """
    from widelimit.networks.coordinates import coordinate_check
    from widelimit.problem.problem import Problem
    from widelimit.report.runs.page import render_coordinates
    from widelimit.results.folders.tablefolder import TableFolder
    from widelimit.runs.coordinates import lines
    from widelimit.runs.table import file_of

    whole = given.suffix in (".toml", ".json")
    what = Problem.from_file(given) if whole else file_of(given).frame
    said = what.to_toml() if isinstance(what, Problem) else what.to_csv()
    folder = TableFolder(output, "coordinates")
    digest = folder.prepare(said + json.dumps(asked), overwrite)
    found = coordinate_check(what, **asked)
    of_problems = [name for name in ("widths", "steps") if name in asked]
    unused = [name for name in ("parametrisation",) if asked[name]] if whole else of_problems
    answer.warn([f"--{name} is not used: {given.name} tells it" for name in unused])
    page = folder.save(
        found.dataset, found.as_dict(), render_coordinates(found, given.stem), digest
    )
    answer.met = found.met
    answer.own |= found.as_dict() | {"report": str(page)}
    answer.lines += [*lines(found), f"report    {page.resolve()}"]
