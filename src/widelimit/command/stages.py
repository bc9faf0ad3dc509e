"""What commands do with a problem, a run folder and an answer. Heavy imports wait until needed."""

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from widelimit.basics.words import counted
from widelimit.command.answer import Answer
from widelimit.report.words import (
    bias_lines,
    described_until,
    distance_lines,
    limit_found_with,
    limit_scores,
    network_scores,
    plan_lines,
    rival_line,
    scatter_line,
    validity_lines,
)

if TYPE_CHECKING:
    from widelimit.papers import Effort
    from widelimit.problem.problem import Problem
    from widelimit.results.folders.claimsfolder import ClaimsFolder
    from widelimit.results.folders.runfolder import RunFolder
    from widelimit.results.trajectory import Trajectory


LONG = 10.0
"""Predictions that take so many seconds are held against networks, which are timed for it."""


def reproduce(
    name: str, effort: "Effort", mnist: bool, folder: "ClaimsFolder", answer: Answer
) -> None:
    """Measure the claims of a paper; claims.json and the report."""
    from widelimit.papers import PAPERS, reproduce
    from widelimit.report.page import render_report

    with folder.unfinished("claims"):
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


def opened(
    path: Path,
    output: Path,
    kinds: tuple[str, ...],
    overwrite: bool,
    answer: Answer,
    pairs: int = 2,
) -> "tuple[RunFolder, Problem]":
    """The checked problem and its folder; then what is to be said before computing."""
    from widelimit.results.folders.runfolder import RunFolder

    problem = read(path, kinds, pairs)
    folder = RunFolder(output)
    folder.prepare(problem, kinds, overwrite)
    from widelimit.ensemble.advice import examine

    print(f"{problem.title}: {problem.network.words()}", file=sys.stderr)
    answer.warn(examine(problem))
    return folder, problem


def read(path: Path, kinds: tuple[str, ...], pairs: int = 2) -> "Problem":
    """A problem file, checked for what results of these kinds need, a bias so many pairs."""
    from widelimit.basics.errors import ProblemError
    from widelimit.problem.problem import Problem

    problem = Problem.from_file(path)
    problem.require_single()
    if {"networks", "fluctuations", "bias"} & set(kinds) and problem.networks is None:
        raise ProblemError(["networks: is missing; give at least networks.widths"], str(path))
    if "networks" in kinds:
        from widelimit.networks.room import refuse_impossible

        refuse_impossible(problem)
    if "fluctuations" in kinds:
        problem.require_finite_data("predicting fluctuations")
    if "bias" in kinds:
        from widelimit.networks.bias import check_halves
        from widelimit.networks.room import refuse_impossible_pairs

        check_halves(problem)
        refuse_impossible_pairs(problem, pairs)
    if {"limit", "fluctuations", "bias"} & set(kinds):
        from widelimit.ensemble.advice import refuse_kinks

        refuse_kinks(problem)
    if "limit" in kinds and problem.limit.memory is not None:
        from widelimit.limit.solve import check_memory

        check_memory(problem)
    return problem


def solve(problem: "Problem", folder: "RunFolder", answer: Answer) -> None:
    """Solve the limit, unless it is there; limit.nc."""
    from widelimit.limit.solve import completed, solved

    started, how = time.perf_counter(), "already there"
    with folder.unfinished("limit"):
        if folder.has("limit"):
            found = replace(folder.load("limit"), problem=problem)
            started -= float(found.dataset.attrs.get("wall_seconds", 0.0))
        else:
            found = solved(problem)
            folder.save(found, time.perf_counter() - started)
            how = f"{time.perf_counter() - started:.1f} s"
        limit = completed(found)
        if limit is not found:
            folder.save(limit, time.perf_counter() - started)
    attrs = limit.dataset.attrs
    answer.warn(limit.warnings)
    answer.met, answer.error = limit.met, float(attrs["error"])
    found_with, facts = limit_found_with(limit)
    answer.own |= facts | {"tolerance": float(attrs["tolerance"])}
    verdict = "met" if limit.met else "NOT met"
    answer.lines += [
        f"limit     {found_with}: error "
        f"{answer.error:.1e} (tolerance {attrs['tolerance']:g}: {verdict})   [{how}]",
        f"          at the end: {limit_scores(limit)}",
    ]
    if "describes_until" in limit.dataset:
        ends = described_until(limit)
        answer.own["describes_until"] = {
            name: until if until is None or until == until else "not known"
            for name, until in ends.items()
        }
        answer.lines += validity_lines(ends)


def fluctuations(
    problem: "Problem",
    what: str,
    tolerance: float | None,
    covariance: bool,
    paths: int,
    folder: "RunFolder",
    answer: Answer,
) -> None:
    """Predict fluctuations; fluctuations.nc."""
    from widelimit.around.fluctuations import predict_fluctuations

    if covariance and what == "rms":
        raise _wrong(problem, "--covariance needs every output: leave out --rms")
    started = time.perf_counter()
    asked = {"what": what, "tolerance": tolerance, "covariance": covariance}
    with folder.unfinished("fluctuations"):
        found = predict_fluctuations(problem, **asked)
        if paths:
            found.dataset["path"] = found.paths(paths)
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
        name = scatter.name
        answer.own["output_std"][name] = scatter.std
        if scatter.shift:
            answer.own.setdefault("depth_shift", {})[name] = scatter.shift
        answer.lines.append(scatter_line(scatter))
    _rival(problem, seconds, found.effective_outputs, answer.error, answer)


def _rival(
    problem: "Problem", seconds: float, effective_outputs: float, error: float, answer: Answer
) -> None:
    """Say what networks would have told in the time of a prediction, if it took long."""
    from widelimit.networks.price import rival

    if seconds < LONG:
        return
    found = rival(problem, seconds, effective_outputs)
    answer.own["networks_instead"] = found._asdict()
    answer.lines.append(rival_line(found, error))


def _wrong(problem: "Problem", sentence: str) -> Exception:
    """What was asked of a problem cannot be."""
    from widelimit.basics.errors import ProblemError

    return ProblemError([sentence], problem.title)


def bias(problem: "Problem", pairs: int, folder: "RunFolder", answer: Answer) -> None:
    """Measure the bias; bias.nc."""
    from widelimit.networks.bias import measure_bias

    started = time.perf_counter()
    with folder.unfinished("bias"):
        found = measure_bias(problem, pairs=pairs)
        seconds = time.perf_counter() - started
        folder.save_bias(found, seconds)
    answer.warn(found.warnings)
    lines = found.at_the_end()
    answer.own["pairs"] = pairs
    answer.own["bias_rms"] = {line.name: line.bias for line in lines}
    answer.own["risk_shift"] = {line.name: line.risk for line in lines}
    answer.lines += [f"mean of networks minus the limit at the end   [{seconds:.1f} s]"]
    answer.lines += bias_lines(lines, pairs)


def width(
    problem: "Problem",
    rms: float,
    at: float | None,
    tolerance: float | None,
    check: bool,
    answer: Answer,
) -> None:
    """Plan a width, and check it if asked to."""
    from dataclasses import asdict

    from widelimit.around.planner import check_plan, plan_width, why_refuted
    from widelimit.basics.errors import ProblemError

    started = time.perf_counter()
    try:
        plan = plan_width(problem, rms, at, tolerance=tolerance)
    except ProblemError:
        raise
    except ValueError as error:
        raise _wrong(problem, str(error)) from None
    seconds = time.perf_counter() - started
    answer.warn(list(plan.warnings))
    answer.met, answer.error = bool(plan.choices), plan.error
    answer.own |= {"time": plan.time, "sources": plan.sources}
    answer.own["choices"] = [asdict(choice) for choice in plan.choices]
    answer.lines += plan_lines(plan)
    if not problem.measured:  # networks have told it already
        _rival(problem, seconds, plan.effective_outputs, plan.error / 2, answer)
    if check and plan.choices:
        found = check_plan(problem, plan)
        ((distance,),), ((error,),) = found.rms, found.rms_se
        refuted = why_refuted(plan, found)
        answer.own["checked"] = {"rms": distance, "standard_error": error, "within": not refuted}
        answer.lines.append(
            f"checked: networks of that width are {distance:.3g} ± {error:.1g} (standard error) "
            "from the limit"
        )
        if refuted:
            answer.met = False
            answer.warn([refuted])


def train(problem: "Problem", folder: "RunFolder", answer: Answer) -> None:
    """Train networks, but those that are there; networks.nc."""
    from widelimit.networks.train import train
    from widelimit.results.closing import ran_away

    started = time.perf_counter()
    known = folder.load("networks") if folder.has("networks") else None

    def keep(trained: "Trajectory") -> None:
        folder.save(trained, time.perf_counter() - started)

    with folder.unfinished("networks"):
        networks = train(problem, known=known, keep=keep)
    d = networks.dataset
    answer.warn(networks.warnings)
    if runaway := ran_away(networks):
        answer.met = False
        answer.warn([runaway])
    answer.own |= {"widths": d["widths"].values.tolist(), "seeds": int(d.sizes["seed"])}
    answer.lines.append(
        f"networks  {counted(d.sizes['width'], 'width')} × {counted(d.sizes['seed'], 'seed')}, "
        f"{d.attrs['method']}"
        f"   [{time.perf_counter() - started:.1f} s]"
    )
    for row in range(d.sizes["width"]):
        scores = network_scores(networks, row)
        answer.lines.append(f"          width {d['width'].values[row]:>5}: {scores}")


def compare(folder: "RunFolder", answer: Answer) -> None:
    """Hold the networks against the limit; comparison.json."""
    from widelimit.results.comparison import compare

    limit, networks = (folder.load(kind, states=False) for kind in ("limit", "networks"))
    found = compare(limit, networks)
    folder.save_comparison(found)
    last = found.exponent[-1]
    answer.own |= {"exponent": last, "closes": found.closes, "closes_reason": found.closes_reason}
    if found.closes is False:
        answer.met = False
        answer.warn([str(found.closes_reason)])
    answer.own["rms"] = dict(zip(found.names, found.rms[-1], strict=True))
    answer.lines += distance_lines(found)


def report(folder: "RunFolder", answer: Answer) -> None:
    """Draw the page; report.html."""
    from widelimit.report.page import render_report

    path = folder.save_report(render_report(folder))
    answer.own["report"] = str(path)
    answer.lines.append(f"report    {path.resolve()}")
