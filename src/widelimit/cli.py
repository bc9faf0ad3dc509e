"""The command line: read, call one function, print. Heavy imports wait until they are needed."""

import json
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata, resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, CycloptsError, Parameter, validators

from widelimit.compilation import keep_compiled
from widelimit.words import (
    bias_lines,
    described_until,
    distance_lines,
    limit_scores,
    network_scores,
    plan_lines,
    shape_name,
    validity_lines,
)

if TYPE_CHECKING:
    from widelimit.papers import Effort
    from widelimit.problem import Problem
    from widelimit.runfolder import RunFolder
    from widelimit.trajectory import Trajectory

COMPUTED, NOT_MET, WRONG_CALL, INTERNAL, INTERRUPTED = 0, 1, 2, 3, 130
"""Exit statuses, see the problem-file documentation."""

app = App(
    name="widelimit",
    help="The infinite-width (mean-field) limit of neural networks trained by SGD, solved to a "
    "stated accuracy, and networks of finite width held against it.",
    version=metadata.version("widelimit"),
    help_format="plaintext",
)

ProblemFile = Annotated[Path, Parameter(help="The problem file (TOML).")]
Output = Annotated[Path, Parameter(name=["--output", "-o"], help="The run folder.")]
Overwrite = Annotated[
    bool, Parameter(negative=(), help="Replace results of another problem in the folder.")
]
Json = Annotated[
    bool, Parameter(name="--json", negative=(), help="Print one JSON object to standard output.")
]
Run = Annotated[Path, Parameter(help="A run folder with results.")]


@dataclass
class _Answer:
    """What a command has to say: lines for people, fields for programs."""

    command: str
    run: Path | None
    as_json: bool
    met: bool = True
    error: float | None = None
    warnings: list[str] = field(default_factory=list)
    own: dict[str, Any] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)

    def after(self, work: Callable[[], None]) -> int:
        """Do the work and print the answer; what diverged is an answer too, though not met."""
        from widelimit.errors import Diverged

        try:
            work()
        except Diverged as error:
            self.met = False
            self.warnings.append(str(error))
            print(f"error: {error}", file=sys.stderr)
        return self.give()

    def give(self) -> int:
        """Print the answer; the exit status."""
        if self.as_json:
            seconds = round(time.perf_counter() - self.started, 3)
            head = {"command": self.command, "run": self.run and str(self.run), "met": self.met}
            tail = {"error": self.error, "seconds": seconds, "warnings": self.warnings}
            print(json.dumps(head | tail | self.own))
        elif self.lines:
            print("\n".join(self.lines))
        return COMPUTED if self.met else NOT_MET

    def warn(self, sentences: list[str]) -> None:
        """Say sentences on standard error, once each, and keep them for the answer."""
        for sentence in sentences:
            if sentence not in self.warnings:
                self.warnings.append(sentence)
                print(f"note: {sentence}", file=sys.stderr)


@app.command
def solve(
    problem: ProblemFile, *, output: Output, overwrite: Overwrite = False, as_json: Json = False
) -> int:
    """Solve the infinite-width limit of a problem; writes RUN/limit.nc."""
    answer = _Answer("solve", output, as_json)
    folder, read = _opened(problem, output, ("limit",), overwrite, answer)
    return answer.after(lambda: _solve(read, folder, answer))


@app.command
def train(
    problem: ProblemFile, *, output: Output, overwrite: Overwrite = False, as_json: Json = False
) -> int:
    """Train the networks of a problem; writes RUN/networks.nc."""
    answer = _Answer("train", output, as_json)
    folder, read = _opened(problem, output, ("networks",), overwrite, answer)
    return answer.after(lambda: _train(read, folder, answer))


@app.command
def fluctuations(
    problem: ProblemFile,
    *,
    output: Output,
    covariance: Annotated[
        bool, Parameter(negative=(), help="Also covariances of all pairs of outputs.")
    ] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> int:
    """Predict how far networks of the given widths are from the limit; trains none of them.

    Writes RUN/fluctuations.nc.
    """
    answer = _Answer("fluctuations", output, as_json)
    folder, read = _opened(problem, output, ("fluctuations",), overwrite, answer)
    return answer.after(lambda: _fluctuations(read, covariance, folder, answer))


@app.command
def bias(
    problem: ProblemFile,
    *,
    output: Output,
    pairs: Annotated[
        int,
        Parameter(validator=validators.Number(gte=2), help="Pairs of networks of each width."),
    ] = 64,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> int:
    """Measure how far the mean of networks is from the limit, with pairs that are trained for it.

    Writes RUN/bias.nc.
    """
    answer = _Answer("bias", output, as_json)
    folder, read = _opened(problem, output, ("bias",), overwrite, answer)
    return answer.after(lambda: _bias(read, pairs, folder, answer))


@app.command
def width(
    problem: ProblemFile,
    *,
    rms: Annotated[float, Parameter(help="How far networks may be from the limit.")],
    at: Annotated[float | None, Parameter(help="Mean-field time (default: the horizon).")] = None,
    check: Annotated[
        bool, Parameter(negative=(), help="Train a few networks of that width and measure.")
    ] = False,
    as_json: Json = False,
) -> int:
    """How wide is wide enough: the width at which networks are so close to the limit."""
    answer = _Answer("width", None, as_json)
    read = _read(problem, ("fluctuations",))
    return answer.after(lambda: _width(read, rms, at, check, answer))


@app.command
def compare(run: Run, *, as_json: Json = False) -> int:
    """Measure the networks' distance from the limit; writes RUN/comparison.json."""
    from widelimit.runfolder import RunFolder

    answer = _Answer("compare", run, as_json)
    _compare(RunFolder(run), answer)
    return answer.give()


@app.command
def report(run: Run, *, as_json: Json = False) -> int:
    """Draw one self-contained page from a run folder; writes RUN/report.html."""
    from widelimit.runfolder import RunFolder

    answer = _Answer("report", run, as_json)
    _report(RunFolder(run), answer)
    return answer.give()


@app.command
def run(
    problem: ProblemFile, *, output: Output, overwrite: Overwrite = False, as_json: Json = False
) -> int:
    """Solve, train, compare and report."""
    return _run(problem, output, _Answer("run", output, as_json), overwrite)


@app.command
def demo(
    *, output: Output = Path("widelimit-demo"), overwrite: Overwrite = False, as_json: Json = False
) -> int:
    """Run a built-in problem: two hidden layers learning handwritten digits (about a minute)."""
    with resources.as_file(resources.files("widelimit") / "demo.toml") as path:
        return _run(path, output, _Answer("demo", output, as_json), overwrite)


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
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> int:
    """Measure the claims of a paper; writes RUN/claims.json and RUN/report.html."""
    from widelimit.papers import find
    from widelimit.runfolder import RunFolder

    answer, folder = _Answer("reproduce", output, as_json), RunFolder(output)
    title = find(name, mnist)
    folder.prepare_claims(name, overwrite)
    print(f"{name}: {title}", file=sys.stderr)
    effort = "quick" if quick else "full"
    return answer.after(lambda: _reproduce(name, effort, mnist, folder, answer))


def _reproduce(
    name: str, effort: "Effort", mnist: bool, folder: "RunFolder", answer: _Answer
) -> None:
    from widelimit.papers import PAPERS, reproduce
    from widelimit.report import render_report

    findings = reproduce(name, effort, mnist=mnist)
    seconds = round(time.perf_counter() - answer.started, 3)
    about = {"name": name, "title": PAPERS[name], "effort": effort, "wall_seconds": seconds}
    folder.save_claims([finding.as_dict() for finding in findings], about)
    path = folder.save_report(render_report(folder))
    answer.met = all(f.verdict != "fails" and f.control_failed for f in findings)
    answer.own["verdicts"] = {f.id: f.verdict for f in findings}
    answer.own["controls"] = {f.id: f.control["verdict"] for f in findings}
    answer.own["report"] = str(path)
    answer.lines += [f"{f.verdict:<12} {f.id:<22} {f.words()}" for f in findings]
    answer.lines.append(f"report       {path.resolve()}")


def _run(path: Path, output: Path, answer: _Answer, overwrite: bool) -> int:
    kinds = ("limit", "networks")
    folder, problem = _opened(path, output, kinds, overwrite, answer)

    def all_four() -> None:
        _solve(problem, folder, answer)
        reached = answer.own.get("describes_until", {}).values()
        answer.met = answer.met and all(until is None for until in reached)
        _train(problem, folder, answer)
        _compare(folder, answer)
        _report(folder, answer)

    return answer.after(all_four)


def _opened(
    path: Path, output: Path, kinds: tuple[str, ...], overwrite: bool, answer: _Answer
) -> "tuple[RunFolder, Problem]":
    """The checked problem and its folder; then what is to be said before computing."""
    from widelimit.runfolder import RunFolder

    problem = _read(path, kinds)
    folder = RunFolder(output)
    folder.prepare(problem, kinds, overwrite)
    from widelimit.advice import examine

    print(f"{problem.title}: {problem.network.words()}", file=sys.stderr)
    answer.warn(examine(problem))
    return folder, problem


def _read(path: Path, kinds: tuple[str, ...]) -> "Problem":
    """A problem file, checked for what results of these kinds need."""
    from widelimit.errors import ProblemError
    from widelimit.problem import Problem

    problem = Problem.from_file(path)
    if {"networks", "fluctuations", "bias"} & set(kinds) and problem.networks is None:
        raise ProblemError(["networks: is missing; give at least networks.widths"], str(path))
    if {"limit", "fluctuations"} & set(kinds):
        problem.require_finite_data()
    if "bias" in kinds:
        from widelimit.bias import check_halves

        check_halves(problem)
    if "limit" in kinds and problem.limit.memory is not None:
        from widelimit.limit import check_memory

        check_memory(problem)
    return problem


def _solve(problem: "Problem", folder: "RunFolder", answer: _Answer) -> None:
    from widelimit.limit import solve

    started = time.perf_counter()
    if folder.has("limit"):
        limit = folder.load("limit")
        how = "already there"
    else:
        limit = solve(problem)
        folder.save(limit, time.perf_counter() - started)
        how = f"{time.perf_counter() - started:.1f} s"
    limit = _described(problem, limit, folder)
    attrs = limit.dataset.attrs
    answer.warn(limit.warnings)
    answer.met, answer.error = limit.met, float(attrs["error"])
    nodes = [int(n) for n in _each(attrs["nodes"])]
    answer.own |= {"nodes": nodes, "replicates": int(attrs["replicates"])}
    answer.own["tolerance"] = float(attrs["tolerance"])
    verdict = "met" if limit.met else "NOT met"
    answer.lines += [
        f"limit     {' × '.join(map(str, nodes))} nodes, {attrs['replicates']} replicates: error "
        f"{answer.error:.1e} (tolerance {attrs['tolerance']:g}: {verdict})   [{how}]",
        f"          at the end: {limit_scores(limit)}",
    ]
    if "describes_until" in limit.dataset:
        ends = described_until(limit)
        answer.own["describes_until"] = ends
        answer.lines += validity_lines(ends)


def _described(problem: "Problem", limit: "Trajectory", folder: "RunFolder") -> "Trajectory":
    """The limit, with the times until when it describes networks if these may leave it."""
    from dataclasses import replace

    from widelimit.validity import has_collapsed, predict_validity

    if not has_collapsed(problem):
        return limit
    if "describes_until" in limit.dataset:
        known = limit.dataset["widths"].values.tolist()
        settings = problem.networks
        asked = settings.layer_widths(problem.network) if settings else []
        if all(list(shape) in known for shape in asked):
            return limit
    started = time.perf_counter()
    found = replace(predict_validity(problem).marked(limit), problem=problem)
    seconds = float(limit.dataset.attrs.get("wall_seconds", 0.0)) + time.perf_counter() - started
    folder.save(found, seconds)
    return found


def _fluctuations(
    problem: "Problem", covariance: bool, folder: "RunFolder", answer: _Answer
) -> None:
    from widelimit.fluctuations import predict_fluctuations

    started = time.perf_counter()
    found = predict_fluctuations(problem, covariance=covariance)
    seconds = time.perf_counter() - started
    folder.save_fluctuations(found, seconds)
    answer.warn(found.warnings)
    answer.met, answer.error = found.met, float(found.dataset.attrs["error"])
    answer.own["way"] = found.dataset.attrs["way"]
    answer.lines.append(
        "predicted standard deviation of the outputs at the end (RMS over inputs; relative error "
        f"{answer.error:.1g})   [{seconds:.1f} s]"
    )
    answer.own["output_std"] = {}
    for scatter in found.at_the_end():
        name = shape_name(scatter.widths)
        answer.own["output_std"][name] = scatter.std
        answer.lines.append(
            f"          width {name:>5}: {scatter.std:.3g}   ({scatter.sources()} of the variance)"
            if scatter.std == scatter.std
            else f"          width {name:>5}: none after t = {scatter.until:.3g}"
        )


def _bias(problem: "Problem", pairs: int, folder: "RunFolder", answer: _Answer) -> None:
    from widelimit.bias import measure_bias

    started = time.perf_counter()
    found = measure_bias(problem, pairs=pairs)
    seconds = time.perf_counter() - started
    folder.save_bias(found, seconds)
    answer.warn(found.warnings)
    lines = found.at_the_end()
    answer.own["pairs"] = pairs
    answer.own["bias_rms"] = {shape_name(line.widths): line.bias for line in lines}
    answer.own["risk_shift"] = {shape_name(line.widths): line.risk for line in lines}
    answer.lines += [f"mean of networks minus the limit at the end   [{seconds:.1f} s]"]
    answer.lines += bias_lines(lines, pairs)


def _width(problem: "Problem", rms: float, at: float | None, check: bool, answer: _Answer) -> None:
    from dataclasses import asdict

    from widelimit.errors import ProblemError
    from widelimit.planner import check_plan, plan_width

    try:
        plan = plan_width(problem, rms, at)
    except ValueError as error:
        raise ProblemError([str(error)], problem.title) from None
    answer.warn(list(plan.warnings))
    answer.met, answer.error = bool(plan.choices), plan.error
    answer.own |= {"time": plan.time, "sources": plan.sources}
    answer.own["choices"] = [asdict(choice) for choice in plan.choices]
    answer.lines += plan_lines(plan)
    if check and plan.choices:
        found = check_plan(problem, plan)
        ((distance,),), ((error,),) = found.rms, found.rms_se
        answer.own["checked"] = {"rms": distance, "standard_error": error}
        answer.lines.append(
            f"checked: networks of that width are {distance:.3g} ± {error:.1g} (standard error) "
            "from the limit"
        )


def _train(problem: "Problem", folder: "RunFolder", answer: _Answer) -> None:
    from widelimit.networks import train

    started = time.perf_counter()
    known = folder.load("networks") if folder.has("networks") else None

    def keep(trained: "Trajectory") -> None:
        folder.save(trained, time.perf_counter() - started)

    networks = train(problem, known=known, keep=keep)
    d = networks.dataset
    answer.warn(networks.warnings)
    answer.own |= {"widths": d["widths"].values.tolist(), "seeds": int(d.sizes["seed"])}
    answer.lines.append(
        f"networks  {d.sizes['width']} widths × {d.sizes['seed']} seeds, {d.attrs['method']}"
        f"   [{time.perf_counter() - started:.1f} s]"
    )
    for row in range(d.sizes["width"]):
        scores = network_scores(networks, row)
        answer.lines.append(f"          width {d['width'].values[row]:>5}: {scores}")


def _compare(folder: "RunFolder", answer: _Answer) -> None:
    from widelimit.comparison import compare

    limit, networks = folder.load("limit"), folder.load("networks")
    found = compare(limit, networks)
    folder.save_comparison(found)
    last = found.exponent[-1]
    answer.own["exponent"] = last
    answer.own["rms"] = dict(zip(map(shape_name, found.layer_widths), found.rms[-1], strict=True))
    answer.lines += distance_lines(found)


def _report(folder: "RunFolder", answer: _Answer) -> None:
    from widelimit.report import render_report

    path = folder.save_report(render_report(folder))
    answer.own["report"] = str(path)
    answer.lines.append(f"report    {path.resolve()}")


def _each(value: Any) -> list[Any]:
    """netCDF gives a list of one back as the bare entry."""
    return list(value) if hasattr(value, "__len__") else [value]


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the command: runs it and exits with its status."""
    sys.exit(_guarded(lambda: app(arguments, exit_on_error=False, result_action="return_value")))


def _guarded(call: Callable[[], Any]) -> int:
    """Every failure as a sentence and an exit status; no traceback for what users can mend."""
    keep_compiled()
    try:
        status = call()
        return status if isinstance(status, int) else COMPUTED
    except CycloptsError:
        return WRONG_CALL  # cyclopts has printed what is wrong with the call
    except KeyboardInterrupt:
        print("interrupted; files that were complete stay", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        from widelimit.errors import Diverged, ProblemError, RunFolderError

        if isinstance(error, ProblemError | RunFolderError):
            print(f"error: {error}", file=sys.stderr)
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
