"""Results in words, for the command line."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from widelimit.basics.words import counted, end_in_words, mean_with_scatter, with_error

if TYPE_CHECKING:
    from widelimit.networks.price import Rival
    from widelimit.results.bias import Shift
    from widelimit.results.comparison import Comparison
    from widelimit.results.fluctuations import Scatter
    from widelimit.results.plan import Choice, Plan
    from widelimit.results.trajectory import Trajectory


def distance_lines(found: "Comparison") -> list[str]:
    """Distances by width at the end, and their exponent."""
    last = found.exponent[-1]
    distances = ", ".join(
        f"{name}: {with_error(rms, se)}"
        for name, rms, se in zip(found.names, found.rms[-1], found.rms_se[-1], strict=True)
    )
    fitted = (
        f"width^({last['value']:.2f}), 95 % interval {last['low']:.2f} … {last['high']:.2f}"
        if last
        else f"no exponent: {found.exponent_reason[-1]}"
    )
    lines = [f"distance  by width at the end: {distances}", f"          {fitted}"]
    return lines + (
        [f"          NOT closing: {found.closes_reason}"] if found.closes is False else []
    )


def limit_found_with(limit: "Trajectory") -> tuple[str, dict[str, Any]]:
    """What a limit was found with, for people and for programs."""
    a = limit.dataset.attrs
    if a.get("how") == "measured":
        widths, networks = (
            list(map(int, _each(a[f"{name}_used"]))) for name in ("widths", "networks")
        )
        used = ", ".join(f"{n} of width {w}" for w, n in zip(widths, networks, strict=True))
        facts = {"how": "measured", "widths_used": widths, "networks_used": networks}
        return f"measured with networks, {used}", {**facts, "adequate": a["adequate"]}
    nodes, runs = list(map(int, _each(a["nodes"]))), int(a["replicates"])
    said = f"{' × '.join(map(str, nodes))} nodes, {counted(runs, 'replicate')}"
    return said, {"nodes": nodes, "replicates": runs}


def described_until(limit: "Trajectory") -> dict[str, float | None]:
    """By width, until when a limit describes networks; None if until the horizon."""
    d = limit.dataset
    return {
        limit.problem.network.name(shape): None if until == math.inf else until
        for shape, until in zip(
            d["widths"].values.tolist(), d["describes_until"].values.tolist(), strict=True
        )
    }


def validity_lines(ends: dict[str, float | None]) -> list[str]:
    """Until when a limit describes networks, by width."""
    said = ", ".join(f"{name}: {end_in_words(until)}" for name, until in ends.items())
    return [f"          describes networks, by width, until {said}"]


def bias_lines(lines: "Sequence[Shift]", pairs: int) -> list[str]:
    """The measured bias of outputs and risk by width."""
    return [
        f"          width {line.name:>5}: outputs {line.bias:.2g} ± "
        f"{line.bias_se:.1g} (RMS over inputs, standard error), risk {line.risk:+.3g} ± "
        f"{line.risk_error:.1g} (95 %); measured with {pairs} pairs"
        for line in lines
    ]


def scatter_line(scatter: "Scatter") -> str:
    """How networks of one width are predicted to scatter."""
    if math.isnan(scatter.std):
        return f"          width {scatter.name:>5}: none after t = {scatter.until:.3g}"
    return (
        f"          width {scatter.name:>5}: {scatter.std:.3g}   ({scatter.sources()} of the "
        f"variance){shift_in_words(scatter)}"
    )


def shift_in_words(scatter: "Scatter") -> str:
    """How far their depth takes networks from the limit."""
    if not scatter.shift:
        return ""
    return f"; their depth shifts them by {scatter.shift:.2g} ± {scatter.shift_error:.1g}"


def rival_line(found: "Rival", error: float) -> str:
    """What is cheaper for the scatter of one width: the prediction, or networks."""
    if math.isinf(found.error):
        return (
            f"cheaper   the prediction: fewer than two networks of width {found.name} train as long"
        )
    told = (
        f"{found.networks:,.0f} networks of width {found.name} train as long, and would tell their "
        f"RMS scatter to {found.error:.2g}"
    )
    better = "training them" if found.better(error) else "the prediction"
    return f"cheaper   {better}: {told} (95 %, relative; predicted: {error:.2g})"


def plan_lines(plan: "Plan") -> list[str]:
    """Widths and batches up to the cheapest and the one after it, and all depths."""
    total = sum(plan.sources.values()) or 1.0
    shares = ", ".join(f"{name} {value / total:.0%}" for name, value in plan.sources.items())
    if not plan.choices:
        return [
            f"no width brings networks within {plan.rms:g}: at infinite width they are still "
            f"{total**0.5:.3g} off ({shares}); take a smaller step, or more samples"
        ]
    lines = [
        f"within {plan.rms:g} of the limit at t = {plan.time:g} (RMS over inputs), widths to "
        f"{plan.error:.1g}; with the first: {shares}"
    ]
    best = plan.choices.index(plan.cheapest)
    first, *others = (own for own in plan.choices if own.batch == plan.choices[0].batch)
    shown = dict.fromkeys([first, *plan.choices[: best + 2], *others])
    return lines + [_choice_line(plan, choice, bool(others)) for choice in shown]


def _choice_line(plan: "Plan", choice: "Choice", deep: bool) -> str:
    """One choice of a plan; of `deep` networks what comes one after the other too."""
    praise = ["cheapest"] if choice == plan.cheapest and len(plan.choices) > 1 else []
    praise += ["quickest, if blocks are one step"] if deep and choice == plan.quickest else []
    sequence = f", in sequence {choice.sequence:.3g}" if deep else ""
    shape = " × ".join(map(str, choice.widths))
    return (
        f"  {'depth × ' if deep else ''}width {shape}, batch {choice.batch}, step "
        f"{choice.step:.3g}: {choice.weights:,} weights, work {choice.work:.3g}{sequence}"
        f"{'   ' if praise else ''}{', '.join(praise)}"
    )


def limit_scores(limit: "Trajectory") -> str:
    """Risk and accuracy of a limit at the end."""
    d = limit.dataset.isel(time=-1)
    said = [f"risk {float(d.risk):.4g} ± {float(d.risk_error):.1g}"]
    if "holdout_risk" in d:
        value, error = float(d.holdout_risk), float(d.holdout_risk_error)
        said.append(f"holdout risk {value:.4g} ± {error:.1g}")
    if "accuracy" in d:
        said += [
            f"{p} accuracy {a:.3f}" for p, a in zip(d.part.values, d.accuracy.values, strict=True)
        ]
    return ", ".join(said)


def network_scores(networks: "Trajectory", row: int) -> str:
    """Risk and accuracy of the networks of one width at the end."""
    d = networks.dataset.isel(time=-1, width=row)
    said = [f"risk {mean_with_scatter(d.risk.values.tolist())}"]
    if "accuracy" in d:
        means = d.accuracy.mean("seed").values
        said += [f"{p} accuracy {a:.3f}" for p, a in zip(d.part.values, means, strict=True)]
    return ", ".join(said)


def _each(value: Any) -> list[Any]:
    """netCDF gives a list of one back as the bare entry."""
    return list(value) if hasattr(value, "__len__") else [value]
