"""Claim: what is done to lower the variance of measured limits is what wins; the rest was tried.

Digits (1,438 images, 10 outputs), three hidden layers of width 64, tanh, μP, flow to t = 10. For
every trick n·Var of outputs (mean over them) at t = 0, 1, 3, 10, times the time of a network over
that of an independent one: what is left of the work at equal error. Of independent networks the
variance is known to about 5 %, of tricks too.

Linearised networks as control variates are not tried: they want the tangent kernel of every network
at 1,438 × 10 points, 2·10^8 numbers, which takes longer than the network.

    python benchmarks tricks_lower_variance
"""

import dataclasses
import time
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from measured_limits_reach_digits import problem
from scipy.stats import norm, qmc
from table import Row

from widelimit.basics.precision import in_precision
from widelimit.basics.progress import progress
from widelimit.basics.streams import Stream, key
from widelimit.ensemble.layered.parameters import LayerParameters
from widelimit.ensemble.neurons import Ensemble
from widelimit.ensemble.system import System
from widelimit.limit.measured.coreset import coreset_of
from widelimit.limit.measured.levels import LIKES
from widelimit.limit.measured.sample import EVERYWHERE, Sampler
from widelimit.networks.course import Course, network_keys
from widelimit.networks.groups import carried
from widelimit.networks.sampled import drawn

WIDTH, NETWORKS, GROUP, TOLERANCE = 64, 128, 8, 1e-3

Arrays = tuple[np.ndarray, list[np.ndarray], np.ndarray]
"""First weights `(neuron, input)`, hidden `(below, above)`, readouts `(neuron, output)`."""

Trick = Callable[[Arrays, np.random.Generator], Arrays]


def sobol(count: int, dims: int, rng: np.random.Generator) -> np.ndarray:
    """Normal numbers from scrambled Sobol points."""
    return norm.ppf(qmc.Sobol(dims, rng=rng).random(count))


def haar(rng: np.random.Generator, size: int) -> np.ndarray:
    """A random orthogonal matrix."""
    q, r = np.linalg.qr(rng.normal(size=(size, size)))
    return q * np.sign(np.diag(r))


def sobol_inputs(own: Arrays, rng: np.random.Generator) -> Arrays:
    """First weights from Sobol points."""
    return sobol(len(own[0]), own[0].shape[1], rng), own[1], own[2]


def sobol_ends(own: Arrays, rng: np.random.Generator) -> Arrays:
    """And readouts."""
    first, last = (sobol(len(w), w.shape[1], rng) for w in (own[0], own[2]))
    return first, own[1], last


def orthonormal_readouts(own: Arrays, rng: np.random.Generator) -> Arrays:
    """Readouts of different outputs at right angles, all of one length."""
    q, _ = np.linalg.qr(own[2])
    return own[0], own[1], q * WIDTH**0.5


def orthogonal(own: Arrays, rng: np.random.Generator) -> Arrays:
    """Hidden matrices that only turn."""
    return own[0], [WIDTH * haar(rng, WIDTH) for _ in own[1]], own[2]


def orthogonal_chi(own: Arrays, rng: np.random.Generator) -> Arrays:
    """The same with rows as long as those of normal matrices."""
    rows = [np.sqrt(rng.chisquare(WIDTH, size=(WIDTH, 1)) / WIDTH) for _ in own[1]]
    return own[0], [WIDTH * r * haar(rng, WIDTH) for r in rows], own[2]


TRICKS: dict[str, Trick] = {
    "independent networks": lambda own, rng: own,
    "Sobol points for first weights": sobol_inputs,
    "… and for readouts": sobol_ends,
    "orthonormal readouts": orthonormal_readouts,
    "orthogonal hidden matrices (another limit)": orthogonal,
    "orthogonal rows times χ (likewise)": orthogonal_chi,
}


def with_trick(networks: Ensemble, trick: Trick, rng: np.random.Generator) -> Ensemble:
    """A batch of networks of which every one is drawn as the trick does."""
    theta = networks.parameters
    assert isinstance(theta, LayerParameters)
    parts = (theta.input, *theta.hidden, theta.readout)
    rows = zip(*(np.asarray(part, float) for part in parts), strict=True)
    changed = []
    for first, *hidden, last in rows:
        one, inner, other = trick((first, hidden, last), rng)
        changed.append((one, *inner, other))
    first, *hidden, last = (
        jnp.asarray(np.stack(c), p.dtype)
        for c, p in zip(zip(*changed, strict=True), parts, strict=True)
    )
    new = dataclasses.replace(theta, input=first, hidden=tuple(hidden), readout=last)
    return networks.at((new, networks.memory))


class Trained:
    """Networks of a width that are trained group by group: their outputs, and seconds of one."""

    def __init__(self, width: int):
        self.widths = (width,) * 3
        self.own = Sampler.of(problem(0.01), TOLERANCE).problem.at_width(self.widths)
        with in_precision("float32") as dtype:
            self.system = System.of(self.own, dtype)

    def start(self, group: int) -> tuple[Ensemble, tuple, jnp.ndarray]:
        """A group of networks before they learn."""
        keys = network_keys(key(Stream.MEASURING, 0), self.widths, GROUP, group * GROUP)
        with in_precision("float32"):
            return drawn(self.own, self.system, self.widths, keys)

    def outputs(self, start: Ensemble, labels: tuple, order: jnp.ndarray) -> tuple:
        """Outputs `(network, time, point, channel)`, and seconds."""
        begun = time.perf_counter()
        with progress("", False) as told, in_precision("float32"):
            course = Course(self.own, self.system, self.widths, "float32", tolerance=TOLERANCE)
            found = carried(course, start, labels, order, 0, told.piece())
        return found.values, time.perf_counter() - begun


def of_trick(trick: Trick) -> tuple[np.ndarray, float]:
    """n·Var by time, and seconds of a network (the least of all groups: others work here too)."""
    trained, rng, found, seconds = Trained(WIDTH), np.random.default_rng(0), [], []
    for group in range(NETWORKS // GROUP):
        start, labels, order = trained.start(group)
        values, took = trained.outputs(with_trick(start, trick, rng), labels, order)
        found.append(values)
        seconds.append(took / GROUP)
    return scatter(np.concatenate(found)), min(seconds[1:])


def scatter(values: np.ndarray) -> np.ndarray:
    """n·Var by time, the mean over outputs."""
    return WIDTH * values.var(axis=0, ddof=1).mean(axis=(1, 2))


def of_pairs(coreset: bool) -> tuple[np.ndarray, np.ndarray, float]:
    """Mirrored pairs: their outputs, those of likes, and seconds of a pair (or a like)."""
    sampler, found, seconds = Sampler.of(problem(0.01), TOLERANCE), [], []
    if coreset:
        own = coreset_of(sampler.problem.dataset, 0)
        sampler = dataclasses.replace(sampler, coreset=own)
    with progress("", False) as told:
        for group in range(NETWORKS // GROUP):
            begun, size = time.perf_counter(), GROUP // 2
            shown = sampler.runs(WIDTH, range(group * size, (group + 1) * size), told)
            found.append(shown.values[EVERYWHERE])
            seconds.append((time.perf_counter() - begun) / size)
    values = np.concatenate(found)
    return values, scatter(values), min(seconds[1:])


def nested() -> np.ndarray:
    """By time the share of variance of 2 f_64 − f_32 that is left where halves are nested."""
    whole, half, rows = Trained(WIDTH), Trained(WIDTH // 2), []
    for group in range(NETWORKS // GROUP):
        start, labels, order = whole.start(group)
        small, marks, _ = half.start(group)
        own, _ = whole.outputs(start, labels, order)
        theta = start.parameters
        assert isinstance(theta, LayerParameters)
        parts = []
        for side in (slice(0, WIDTH // 2), slice(WIDTH // 2, WIDTH)):
            inner = tuple(w[:, side, side] / 2**0.5 for w in theta.hidden)
            ends = {"input": theta.input[:, side], "readout": theta.readout[:, side]}
            cut = dataclasses.replace(theta, hidden=inner, **ends)
            parts.append(half.outputs(small.at((cut, small.memory)), marks, order)[0])
        rows.append((own, np.mean(parts, axis=0)))
    wide, narrow = (np.concatenate(own) for own in zip(*rows, strict=True))
    apart = 4 * scatter(wide) + scatter(narrow)
    return scatter(2 * wide - narrow) / np.where(apart > 0, apart, 1.0)


def numbers(values: np.ndarray) -> str:
    """By time."""
    return ", ".join(f"{own:.3f}" for own in values)


def row(name: str, left: np.ndarray, plain: np.ndarray, how: str) -> Row:
    """What is left of the work, at the worst time."""
    asked = "less work than independent networks"
    return Row(name, asked, f"{left.max() / plain.max():.2f} of the work ({numbers(left)})", how)


def measure() -> list[Row]:
    """A row for every trick: n·Var at t = 0, 1, 3, 10 for the time of an independent network."""
    plain, each = of_trick(TRICKS["independent networks"])
    rows = [row("independent networks", plain, plain, f"{1e3 * each:.0f} ms each")]
    for name, trick in list(TRICKS.items())[1:]:
        own, _ = of_trick(trick)  # drawn here, beside the clock; training takes the same time
        rows.append(row(name, own, plain, "taken to last as long"))
    values, pairs, seconds = of_pairs(False)
    left = pairs * seconds / each
    rows.append(row("pairs with mirrored readouts", left, plain, f"{1e3 * seconds:.0f} ms a pair"))
    likes, alone, quick = of_pairs(True)
    apart = scatter(values - likes)
    work = [(apart + alone / r) * (seconds + (1 + r) * quick) / each for r in LIKES]
    best = min(work, key=np.max)
    how = f"{1e3 * quick:.0f} ms a pair of likes; beside pairs {best.max() / left.max():.2f}"
    rows.append(row("… and likes that learn from a coreset", best, plain, how))
    share = nested()
    said = f"{share.max():.2f} of the variance of 2 f_64 − f_32 ({numbers(share)})"
    rows.append(Row("halves of the wider networks as the narrower", rows[0].asked, said, "nested"))
    return rows


if __name__ == "__main__":
    print(*measure(), sep="\n")
