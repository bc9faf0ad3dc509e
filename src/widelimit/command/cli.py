"""The command line: read, call one function, print. Heavy imports wait until they are needed."""

import json
import sys
import tempfile
import traceback
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Parameter, validators

from widelimit import __version__
from widelimit.command import plans, stages, tables
from widelimit.command.answer import COMPUTED, INTERNAL, NOT_MET, WRONG_CALL, Answer
from widelimit.command.compilation import keep_compiled
from widelimit.command.interrupts import INTERRUPTED, interruptible
from widelimit.command.streams import forgiving, logged
from widelimit.command.workers.processes import solve_together
from widelimit.command.workers.threads import one_thread_here
from widelimit.command.workers.who import ALONE, Who

app = App(
    name="widelimit",
    help="The infinite-width (mean-field) limit of neural networks trained by SGD, solved to a "
    "stated accuracy, and networks of finite width held against it.",
    version=__version__,
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
)

ProblemFile = Annotated[Path, Parameter(help="The problem file (TOML).")]
Output = Annotated[Path, Parameter(name=["--output", "-o"], help="The run folder.")]
Overwrite = Annotated[
    bool, Parameter(negative=(), help="Replace results of another problem in the folder.")
]
Json = Annotated[
    bool, Parameter(name="--json", negative=(), help="Print one JSON object to standard output.")
]
Tolerance = Annotated[
    float | None,
    Parameter(
        help="Relative error of standard deviations (default: 0.02, of their RMS alone 0.1).",
        validator=validators.Number(gt=0),
    ),
]
DryRun = Annotated[
    bool, Parameter(negative=(), help="Say what it would take (memory, time), and do nothing.")
]
Run = Annotated[Path, Parameter(help="A run folder with results.")]


@app.command
def solve(
    problem: ProblemFile,
    *,
    output: Output,
    together: Annotated[
        bool,
        Parameter(negative=(), help="With the other processes of this SLURM or MPI job, as one."),
    ] = False,
    who: Who = ALONE,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> int:
    """Solve the infinite-width limit of a problem; writes RUN/limit.nc."""
    if together:
        return solve_together(problem, output, overwrite, as_json)
    answer = Answer("solve", output, as_json)
    if dry_run:
        return plans.of_problem(problem, ("limit",), answer)
    with who.beside():
        folder, read = stages.opened(problem, output, ("limit",), overwrite, answer)
        return answer.after(lambda: stages.solve(read, folder, answer))


@app.command
def train(
    problem: ProblemFile,
    *,
    output: Output,
    who: Who = ALONE,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> int:
    """Train the networks of a problem; writes RUN/networks.nc."""
    answer = Answer("train", output, as_json)
    if dry_run:
        return plans.of_problem(problem, ("networks",), answer)
    with who.beside():
        folder, read = stages.opened(problem, output, ("networks",), overwrite, answer)
        return answer.after(lambda: stages.train(read, folder, answer))


@app.command
def fluctuations(
    problem: ProblemFile,
    *,
    output: Output,
    rms: Annotated[
        bool, Parameter(negative=(), help="The RMS over outputs alone: far quicker.")
    ] = False,
    tolerance: Tolerance = None,
    covariance: Annotated[
        bool, Parameter(negative=(), help="Also covariances of all pairs of outputs.")
    ] = False,
    paths: Annotated[
        int, Parameter(help="Also so many sample paths.", validator=validators.Number(gte=0))
    ] = 0,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> int:
    """Predict how far networks of the given widths are from the limit; trains none of them.

    Writes RUN/fluctuations.nc.
    """
    answer, what = Answer("fluctuations", output, as_json), "rms" if rms else "all"
    if dry_run:
        return plans.of_problem(problem, ("fluctuations",), answer, what=what, tolerance=tolerance)
    folder, read = stages.opened(problem, output, ("fluctuations",), overwrite, answer)
    return answer.after(
        lambda: stages.fluctuations(read, what, tolerance, covariance, paths, folder, answer)
    )


@app.command
def bias(
    problem: ProblemFile,
    *,
    output: Output,
    pairs: Annotated[
        int,
        Parameter(validator=validators.Number(gte=2), help="Pairs of networks of each width."),
    ] = 64,
    who: Who = ALONE,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> int:
    """Measure how far the mean of networks is from the limit, with pairs that are trained for it.

    Writes RUN/bias.nc.
    """
    answer = Answer("bias", output, as_json)
    if dry_run:
        return plans.of_problem(problem, ("bias",), answer, pairs=pairs)
    with who.beside():
        folder, read = stages.opened(problem, output, ("bias",), overwrite, answer, pairs)
        return answer.after(lambda: stages.bias(read, pairs, folder, answer))


@app.command
def width(
    problem: ProblemFile,
    *,
    rms: Annotated[float, Parameter(help="How far networks may be from the limit.")],
    at: Annotated[float | None, Parameter(help="Mean-field time (default: the horizon).")] = None,
    tolerance: Tolerance = None,
    check: Annotated[
        bool, Parameter(negative=(), help="Train a few networks of that width and measure.")
    ] = False,
    as_json: Json = False,
) -> int:
    """How wide is wide enough: the width at which networks are so close to the limit."""
    answer = Answer("width", None, as_json)
    read = stages.read(problem, ("fluctuations",))
    return answer.after(lambda: stages.width(read, rms, at, tolerance, check, answer))


@app.command
def compare(run: Run, *, as_json: Json = False) -> int:
    """Measure the networks' distance from the limit; writes RUN/comparison.json."""
    from widelimit.results.folders.runfolder import RunFolder

    answer, folder = Answer("compare", run, as_json), RunFolder(run)
    folder.hold()
    stages.compare(folder, answer)
    return answer.give()


@app.command
def report(run: Run, *, as_json: Json = False) -> int:
    """Draw one self-contained page from a run folder; writes RUN/report.html."""
    from widelimit.results.folders.runfolder import RunFolder

    answer, folder = Answer("report", run, as_json), RunFolder(run)
    folder.hold()
    stages.report(folder, answer)
    return answer.give()


@app.command
def run(
    problem: ProblemFile,
    *,
    output: Output,
    who: Who = ALONE,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> int:
    """Solve, train, compare and report."""
    answer = Answer("run", output, as_json)
    if dry_run:
        return plans.of_problem(problem, ("limit", "networks"), answer)
    with who.beside():
        return _run(problem, output, answer, overwrite)


@app.command
def sweep(
    problem: ProblemFile,
    *,
    output: Output,
    who: Who = ALONE,
    job_array: Annotated[
        bool, Parameter(negative=(), help="Compute nothing: write a job array for sbatch.")
    ] = False,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> int:
    """Solve, train and compare every problem of a family ([sweep]); writes RUN/sweep.nc.

    Members that are done stay done: the same call goes on where a killed one was.
    """
    from widelimit.command.families import sweeping
    from widelimit.problem.problem import Problem

    answer, read = Answer("sweep", output, as_json), Problem.from_file(problem)
    if dry_run:
        return plans.of_family(read, output, who, answer)
    if job_array:
        return answer.after(lambda: sweeping.job_array(read, problem, output, overwrite, answer))
    return answer.after(lambda: sweeping.sweep(read, output, who, overwrite, answer))


@app.command
def member(
    number: Annotated[int, Parameter(help="Which member, counted from 0.")],
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="The sweep's run folder.")],
    as_json: Json = False,
) -> int:
    """Compute one member of a sweep that widelimit sweep --job-array has laid out."""
    one_thread_here()
    from widelimit.command.families import sweeping

    answer = Answer("member", output, as_json)
    return answer.after(lambda: sweeping.member(output, number, answer))


@app.command
def extrapolate(
    runs: Annotated[
        Path,
        Parameter(help="A csv or netCDF file: width, seed, perhaps step or time, learning_rate."),
    ],
    *,
    output: Output,
    metric: Annotated[
        list[str] | None,
        Parameter(negative=(), help="A column that counts; several may be named (default: all)."),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> int:
    """What metrics of runs of several widths, from anywhere, come to at infinite width.

    Writes RUN/extrapolation.nc, extrapolation.json and extrapolation.html.
    """
    answer = Answer("extrapolate", output, as_json)
    return answer.after(lambda: tables.extrapolate(runs, metric, output, overwrite, answer))


@app.command
def transfer(
    runs: Annotated[
        Path, Parameter(help="A csv or netCDF file: width, learning_rate, seed, a metric.")
    ],
    *,
    output: Output,
    metric: Annotated[
        str | None, Parameter(help="The column to make small (default: the only one).")
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> int:
    """Whether the best learning rate of narrow networks is that of wide ones, from a table.

    Writes RUN/transfer.nc, transfer.json and transfer.html.
    """
    answer = Answer("transfer", output, as_json)
    return answer.after(lambda: tables.transfer(runs, metric, output, overwrite, answer))


@app.command
def coordinate_check(
    given: Annotated[
        Path, Parameter(help="A problem (.toml, .json), or a csv file: layer, width, size, …")
    ],
    *,
    output: Output,
    widths: Annotated[
        list[int] | None, Parameter(negative=(), help="Widths of the problem's networks.")
    ] = None,
    seeds: Annotated[int, Parameter(help="Networks of each width.")] = 5,
    steps: Annotated[
        list[int] | None, Parameter(negative=(), help="Steps of training that are looked at.")
    ] = None,
    parametrisation: Annotated[
        str | None, Parameter(help="What predicts a table: mup, ntk or standard.")
    ] = None,
    last: Annotated[str, Parameter(help="What a table calls its output layer.")] = "output",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> int:
    """How pre-activations, outputs and their changes go with the width, against what is predicted.

    Writes RUN/coordinates.nc, coordinates.json and coordinates.html.
    """
    answer = Answer("coordinate-check", output, as_json)
    asked = {"seeds": seeds, "parametrisation": parametrisation, "output": last}
    asked |= {k: v for k, v in (("widths", widths), ("steps", steps)) if v}
    return answer.after(lambda: tables.coordinate_check(given, asked, output, overwrite, answer))


@app.command
def status(run: Run, *, as_json: Json = False) -> int:
    """Say what of a run or sweep is done, under way, failed, and how long the rest may take."""
    from widelimit.command.status import standing

    answer = Answer("status", run, as_json)
    return answer.after(lambda: standing(run, answer))


@app.command
def demo(
    *, output: Output = Path("widelimit-demo"), overwrite: Overwrite = False, as_json: Json = False
) -> int:
    """Run a built-in problem: two hidden layers learning handwritten digits (about a minute)."""
    with resources.as_file(resources.files("widelimit.command") / "demo.toml") as path:
        return _run(path, output, Answer("demo", output, as_json), overwrite)


@app.command
def papers(*, as_json: Json = False) -> int:
    """List the papers whose claims can be measured."""
    from widelimit.papers import PAPERS

    if as_json:
        print(json.dumps(PAPERS))
    else:
        print("\n".join(f"{name:<20}{title}" for name, title in PAPERS.items()))
    return COMPUTED


@app.command
def reproduce(
    name: Annotated[str, Parameter(help="One of the names that widelimit papers lists.")],
    *,
    output: Output,
    quick: Annotated[
        bool, Parameter(negative=(), help="Fewer networks: less power, the same false alarms.")
    ] = False,
    mnist: Annotated[
        bool, Parameter(negative=(), help="Images of MNIST, downloaded once (one-hidden-layer).")
    ] = False,
    who: Who = ALONE,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> int:
    """Measure the claims of a paper; writes RUN/claims.json and RUN/report.html."""
    answer, effort = Answer("reproduce", output, as_json), "quick" if quick else "full"
    with ALONE.beside() if dry_run else who.beside():
        from widelimit.papers import find
        from widelimit.results.folders.claimsfolder import ClaimsFolder

        title, folder = find(name, mnist), ClaimsFolder(output)
        if dry_run:
            return plans.of_claims(name, effort, answer)
        folder.prepare_claims(name, overwrite)
        print(f"{name}: {title}", file=sys.stderr)
        return answer.after(lambda: stages.reproduce(name, effort, mnist, folder, answer))


def _run(path: Path, output: Path, answer: Answer, overwrite: bool) -> int:
    kinds = ("limit", "networks")
    folder, problem = stages.opened(path, output, kinds, overwrite, answer)

    def all_four() -> None:
        stages.solve(problem, folder, answer)
        reached = answer.own.get("describes_until", {}).values()
        answer.met = answer.met and all(until is None for until in reached)
        stages.train(problem, folder, answer)
        stages.compare(folder, answer)
        stages.report(folder, answer)

    return answer.after(all_four)


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the command: runs it and exits with its status."""
    sys.exit(_guarded(lambda: app(arguments, exit_on_error=False, result_action="return_value")))


def _guarded(call: Callable[[], Any]) -> int:
    """Every failure as a sentence and an exit status, on streams that may be closed."""
    with forgiving():
        return _ended(call)


def _ended(call: Callable[[], Any]) -> int:
    """The exit status; no traceback for what users can mend."""
    try:
        with interruptible(), logged():
            keep_compiled()
            status = call()
        return status if isinstance(status, int) else COMPUTED
    except CycloptsError:
        return WRONG_CALL  # cyclopts has printed what is wrong with the call
    except KeyboardInterrupt:
        print("interrupted; files that were complete stay", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        from widelimit.basics.errors import Diverged, ProblemError, RunFolderError

        if isinstance(error, ProblemError | RunFolderError):
            print(f"error: {error}", file=sys.stderr)
            return WRONG_CALL
        if isinstance(error, OSError) and error.filename is not None:  # deleted meanwhile, say
            print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
            return WRONG_CALL
        if isinstance(error, Diverged):
            print(f"error: {error}", file=sys.stderr)
            return NOT_MET
        with tempfile.NamedTemporaryFile(
            "w", prefix="widelimit-", suffix=".log", delete=False, encoding="utf-8"
        ) as log:
            traceback.print_exc(file=log)
        print(
            f"internal error: {type(error).__name__}: {error}\nThe traceback is in {log.name}; "
            "please report it.",
            file=sys.stderr,
        )
        return INTERNAL
