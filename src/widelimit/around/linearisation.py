"""The limit's flow linearised along its own path: tangents carried forward, cotangents back.

With F(θ, p, π, t) the velocity of the parameters, p the weights of the neurons and π those of the
data, a small change of p and π moves the parameters by

    δθ' = F_θ δθ + F_p δp + F_π δπ,                                    δθ(0) = 0,

and a linear reading r of the ensemble at time t, pulled back, tells what each weight does to it:

    −λ' = F_θᵀ λ,   λ(t) = r_θ,   ∂r/∂p = r_p + ∫ F_pᵀ λ ds,   ∂r/∂π(s) = F_πᵀ λ(s) = J_s

(equations.md §4: influence functions of neurons and of data). Between knots the path is a cubic;
no piece of it crosses a stop of a schedule.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from widelimit.basics.errors import Diverged
from widelimit.ensemble.equations import Batch
from widelimit.ensemble.neurons import Ensemble, Share
from widelimit.ensemble.system import Motion, System
from widelimit.motion.control import Control
from widelimit.motion.flow import DIVERGENCE_CAUSE, integrate, method_for
from widelimit.motion.spans import Span, spans_to, within
from widelimit.nodes.points import Numbers

KNOTS = 32
"""Between two observed times the path has so many knots, or a power of two times as many; pieces
that stops cut them into share these."""

KNOTS_PER_STEP = 4
"""There are at least so many knots for each step of the flow: the cubic through them, with its
slopes, is then better than the steps."""

Leaves = list[Any]
"""Arrays: those of JAX, or of NumPy between pieces."""


class Piece(eqx.Module):
    """The limit's path over a span of time."""

    method: diffrax.AbstractERK
    weights: tuple[Float[Array, "_"], ...]
    curve: diffrax.CubicInterpolation
    layout: Any = eqx.field(static=True)
    span: Span
    steps: Array
    tolerance: Array


class Tangents(eqx.Module):
    """Changes of an ensemble, one along the first axis for each direction."""

    weights: tuple[Float[Numbers, "directions _"], ...]
    leaves: Leaves


class Cotangents(eqx.Module):
    """What readings of a later time owe to an earlier one, one along the first axis for each.

    `leaves` is λ, `weights` the derivative by neuron weights so far, `data` the integral of J_s,
    and `noise` that of the covariances Cov_π(J_s), `(reading, reading)`.
    """

    leaves: Leaves
    weights: tuple[Float[Numbers, "readings _"], ...]
    data: Float[Numbers, "readings points"]
    noise: Float[Numbers, "readings readings"]

    def bare(self) -> "Cotangents":
        """λ alone, nothing gathered yet."""
        nothing = jax.tree.map(np.zeros_like, (self.weights, self.data, self.noise))
        return Cotangents(self.leaves, *nothing)

    def joined(self, others: "Cotangents") -> "Cotangents":
        """The vectors of both, none of which has gathered noise yet."""
        bare = [(v.leaves, v.weights, v.data) for v in (self, others)]
        parts = jax.tree.map(lambda *both: np.concatenate(both), *bare)
        return Cotangents(*parts, noise=self._no_noise(len(self.data) + len(others.data)))

    def combined(self, matrix: np.ndarray) -> "Cotangents":
        """Linear combinations of vectors, none of which has gathered noise yet."""
        parts = jax.tree.map(
            lambda part: np.tensordot(matrix.astype(part.dtype), np.asarray(part), axes=1),
            (self.leaves, self.weights, self.data),
        )
        return Cotangents(*parts, noise=self._no_noise(len(matrix)))

    # NumPy's, because JAX would compile them for every number of vectors.

    def _no_noise(self, count: int) -> Any:
        return np.zeros((count, count), self.noise.dtype)


@dataclass(frozen=True)
class Path:
    """The limit at the observed times, and what leads from each to the next."""

    ensembles: tuple[Ensemble, ...]
    pieces: tuple[tuple[Piece, ...], ...]
    """Those that end at each observed time, or at stops before it."""


def _field(motion: Motion, layout: Any) -> Callable[..., Leaves]:
    """F(p, θ, π, y, t), its parameters as a list of arrays; y are the targets.

    `layout` is that of the ensemble, whose arrays are its weights and its state.
    """

    def velocity_of(weights: Any, leaves: Leaves, pi: Array, y: Array, t: ArrayLike) -> Leaves:
        ensemble: Ensemble = jax.tree.unflatten(layout, [*weights, *leaves])
        batch = Batch(motion.batch.inputs, y, pi)
        return jax.tree.leaves(motion.dynamics.velocity(motion.equations, ensemble, batch, t))

    return velocity_of


def covariance(values: Numbers, law: Numbers) -> Numbers:
    """Cov_z[v(z), v'(z)] of `values (v, z)` when z has the probabilities `law`."""
    return Share(law).covariance(values)


def readings(system: System, ensemble: Ensemble) -> Float[Array, " readings"]:
    """The outputs at the observed inputs, channel by channel, and the risk."""
    inputs = system.inputs[system.view("observed")]
    seen = system.equations.output(ensemble, inputs)
    trained = system.equations.output(ensemble, system.batch.inputs)
    return jnp.append(seen.ravel(), system.equations.risk(trained, system.batch))


def _reading(system: System, ensemble: Ensemble) -> tuple[Callable[..., Array], tuple[Any, Leaves]]:
    """The readings as a function of weights and parameters, and where these are now."""
    state, layout = jax.tree.leaves(ensemble.state), jax.tree.structure(ensemble)

    def seen(weights: Any, leaves: Leaves) -> Array:
        return readings(system, jax.tree.unflatten(layout, [*weights, *leaves]))

    return seen, (ensemble.weights, state)


def path_of(
    motion: Motion, ensemble: Ensemble, times: np.ndarray, tolerance: float, halved: bool = False
) -> Path:
    """The limit at `times`, with relative and absolute step error `tolerance`.

    With `halved` steps are half as long, for the path and for all that is linearised about it.
    Raises `Diverged`.
    """
    method = method_for(tolerance)
    order = method.order(None)
    assert order is not None
    tolerance = tolerance / 2**order if halved else tolerance
    spans = list(spans_to(times, motion.dynamics, jnp.zeros(()).dtype))
    knots = max(KNOTS_PER_STEP, KNOTS >> (max(map(len, spans)) - 1).bit_length())
    while True:
        found = _path_with_knots(method, motion, ensemble, spans, tolerance, knots)
        steps = max([int(piece.steps) for pieces in found.pieces for piece in pieces] or [0])
        if KNOTS_PER_STEP * steps <= (2 if halved else 1) * knots:
            return found
        knots *= 2


def _path_with_knots(
    method: diffrax.AbstractERK,
    motion: Motion,
    ensemble: Ensemble,
    spans_to_times: Sequence[Sequence[Span]],
    tolerance: float,
    knots: int,
) -> Path:
    ensembles, found = [], []
    for spans in spans_to_times:
        pieces = []
        for span in spans:
            ensemble, piece, completed = _travelled(
                method, motion, ensemble, span, np.asarray(tolerance, float), knots
            )
            if not completed:
                raise Diverged("the limit", float(span.start), DIVERGENCE_CAUSE)
            pieces.append(piece)
        ensembles.append(ensemble)
        found.append(tuple(pieces))
    return Path(tuple(ensembles), tuple(found))


@eqx.filter_jit
def _travelled(
    method: diffrax.AbstractERK,
    motion: Motion,
    ensemble: Ensemble,
    span: Span,
    tolerance: Array | np.ndarray,
    knots: int,
) -> tuple[Ensemble, Piece, Array]:
    """The ensemble at the end of a span of time, what leads there, and whether it went well."""
    start, stop, accuracy = (jnp.asarray(number) for number in (*span, tolerance))
    span = Span(start, stop)
    state, layout = jax.tree.leaves(ensemble.state), jax.tree.structure(ensemble)
    field = _field(motion, layout)

    def slope(t: Any, leaves: Leaves) -> Leaves:
        return field(ensemble.weights, leaves, motion.batch.weights, motion.batch.targets, t)

    times = jnp.linspace(start, stop, knots + 1)
    at, steps, completed = integrate(
        slope,
        method,
        span,
        jnp.minimum(1e-2, (stop - start) / 8),
        state,
        Control.of(accuracy),
        times,
    )
    slopes = jax.lax.map(lambda now: slope(*now), (within(span, times), at))
    curve = diffrax.CubicInterpolation(ts=times, coeffs=_cubics(times, at, slopes))
    weights = tuple(jnp.asarray(p) for p in ensemble.weights)
    end = jax.tree.unflatten(layout, [*weights, *(leaf[-1] for leaf in at)])
    piece = Piece(method, weights, curve, layout, span, steps, accuracy)
    return end, piece, completed


def _cubics(times: Array, at: Leaves, slopes: Leaves) -> tuple[Leaves, Leaves, Leaves, Leaves]:
    """Hermite's coefficients (d, c, b, a) between knots: a + b s + c s² + d s³."""
    h = jnp.diff(times)

    def shaped(leaf: Array) -> Array:
        return h.reshape(-1, *[1] * (leaf.ndim - 1))

    rise = [jnp.diff(y, axis=0) / shaped(y) for y in at]
    d = [(v[1:] + v[:-1] - 2 * r) / shaped(v) ** 2 for v, r in zip(slopes, rise, strict=True)]
    c = [(3 * r - 2 * v[:-1] - v[1:]) / shaped(v) for v, r in zip(slopes, rise, strict=True)]
    return d, c, [v[:-1] for v in slopes], [y[:-1] for y in at]


def _carried(
    piece: Piece, field: Callable, span: Span, led: Leaves, rest: Any
) -> tuple[Leaves, Any]:
    """A linear equation carried over a span of time; `field(t, led)` gives the speed of both.

    Steps are chosen for `led` alone, in units of how large each of its arrays is or becomes. The
    steps of the path would not do: a limit at rest takes none, while what is linearised about it
    still relaxes. All is NaN if it did not go well.
    """
    speed, length = field(span.start, led)[0], span.stop - span.start
    sizes = [
        jnp.sqrt(jnp.maximum(jnp.mean(y**2), length**2 * jnp.mean(v**2)))
        for y, v in zip(led, speed, strict=True)
    ]
    largest = jnp.max(jnp.stack(sizes))
    units = [jnp.where(s > 0, s, jnp.where(largest > 0, largest, 1.0)) for s in sizes]
    others, layout = jax.tree.flatten(rest)

    def in_units(t: Any, state: tuple[Leaves, Leaves]) -> tuple[Leaves, Leaves]:
        speed, gathered = field(t, [y * u for y, u in zip(state[0], units, strict=True)])
        return [v / u for v, u in zip(speed, units, strict=True)], jax.tree.leaves(gathered)

    (led, others), _, completed = integrate(
        in_units,
        piece.method,
        span,
        length / 8,
        ([y / u for y, u in zip(led, units, strict=True)], others),
        diffrax.PIDController(piece.tolerance, piece.tolerance, norm=_of_led),
    )
    found = [jnp.where(completed, y * u, jnp.nan) for y, u in zip(led, units, strict=True)]
    others = [jnp.where(completed, other, jnp.nan) for other in others]
    return found, jax.tree.unflatten(layout, others)


def _of_led(errors: tuple[Leaves, Leaves]) -> Array:
    """The largest RMS among the arrays that steps are chosen for."""
    return jnp.max(jnp.stack([jnp.sqrt(jnp.mean(e**2)) for e in errors[0]]))


# --- back ---------------------------------------------------------------------------------------


@eqx.filter_jit
def read_back(
    system: System, ensemble: Ensemble, covectors: Float[Array, "readings all"]
) -> Cotangents:
    """Cotangents, at their own time, of linear combinations of the readings."""
    seen, point = _reading(system, ensemble)
    back = jax.vjp(seen, *point)[1]
    weights, leaves = jax.vmap(back)(covectors)
    count, points = len(covectors), len(system.batch.weights)
    zeros = jnp.zeros((count, points)), jnp.zeros((count, count))
    return Cotangents(leaves, weights, *(z.astype(covectors.dtype) for z in zeros))


@eqx.filter_jit
def pull(motion: Motion, piece: Piece, cotangents: Cotangents) -> Cotangents:
    """Cotangents at the start of a piece from those at its end."""
    field, pi, y = _field(motion, piece.layout), motion.batch.weights, motion.batch.targets

    def backward(elapsed: Any, now: Leaves) -> tuple[Leaves, Any]:
        t = within(piece.span, piece.span.stop - elapsed)
        at = piece.weights, piece.curve.evaluate(t), pi
        if motion.label_noise is None:
            _, back = jax.vjp(lambda *at: field(*at, y, t), *at)
            weights, leaves, data = jax.vmap(back)(now)
            return leaves, (weights, data, covariance(data, pi))
        _, back = jax.vjp(lambda *at: field(*at, t), *at, y)
        weights, leaves, data, labels = jax.vmap(back)(now)
        return leaves, (weights, data, covariance(data, pi) + _of_labels(motion, labels))

    length = piece.span.stop - piece.span.start
    gathered = cotangents.weights, cotangents.data, cotangents.noise
    leaves, gathered = _carried(
        piece, backward, Span(jnp.zeros_like(length), length), cotangents.leaves, gathered
    )
    return Cotangents(leaves, *gathered)


def _of_labels(
    motion: Motion, labels: Float[Array, "readings points channels"]
) -> Float[Array, "readings readings"]:
    """v E_z[D(z) D'(z)] for labels of variance v, D(z) being readings' derivatives by a label of z.

    `labels` are derivatives by the labels of the data points, which have π_z for a factor.
    """
    pi = motion.batch.weights[:, None]
    scaled = labels / jnp.sqrt(jnp.where(pi > 0, pi, jnp.inf))
    assert motion.label_noise is not None
    return motion.label_noise * jnp.einsum("azc,bzc->ab", scaled, scaled)


# --- forward ------------------------------------------------------------------------------------


def still(ensemble: Ensemble, weights: Sequence[Array]) -> Tangents:
    """Changes of the neurons' weights that have not moved any parameter yet."""
    count = len(weights[0])
    leaves = [jnp.zeros((count, *leaf.shape)) for leaf in jax.tree.leaves(ensemble.state)]
    return Tangents(tuple(weights), leaves)


@eqx.filter_jit
def push(
    motion: Motion,
    piece: Piece,
    tangents: Tangents,
    changes: Float[Array, "directions points"],
    span: Span | None = None,
) -> Tangents:
    """Tangents at the end of a piece, the data weights being changed by `changes` throughout.

    With `span`, at the end of a span within the piece, from those at its start.
    """
    field, pi, y = _field(motion, piece.layout), motion.batch.weights, motion.batch.targets

    def forward(t: Any, now: Leaves) -> tuple[Leaves, None]:
        point = piece.weights, piece.curve.evaluate(t), pi

        def one(weights: Any, leaves: Leaves, change: Array) -> Leaves:
            return jax.jvp(lambda *at: field(*at, y, t), point, (weights, leaves, change))[1]

        return jax.vmap(one)(tangents.weights, now, changes), None

    moved, _ = _carried(piece, forward, span or piece.span, tangents.leaves, None)
    return Tangents(tangents.weights, moved)


@eqx.filter_jit
def read(system: System, ensemble: Ensemble, tangents: Tangents) -> Float[Array, "directions all"]:
    """How much tangents change the readings."""
    seen, point = _reading(system, ensemble)

    def one(weights: Any, leaves: Leaves) -> Array:
        return jax.jvp(seen, point, (weights, leaves))[1]

    return jax.vmap(one)(tangents.weights, tangents.leaves)
