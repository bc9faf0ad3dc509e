"""Claim: the time-stepping method that is taken costs about as little as any for its error.

Every method of diffrax that could serve, in float64, in float32, and with float32 velocities added
up in float64, at several step tolerances; the cheapest run that reaches a time error is quoted.
The error is that of the outputs at the end against Dopri8 at 1e-10, on the same nodes.
"""

from functools import partial

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from limit_beats_networks import small
from table import Row, lines
from timing import best

from widelimit.ensemble.neurons import Ensemble
from widelimit.ensemble.system import System, outputs
from widelimit.motion.control import by_kind
from widelimit.motion.engine import engine
from widelimit.motion.flow import method_for

METHODS = (diffrax.Heun, diffrax.Bosh3, diffrax.Tsit5, diffrax.Dopri5, diffrax.Dopri8)
TOLERANCES = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
ERRORS = (1e-3, 1e-5, 1e-6)
PRECISIONS = {
    "float64": (jnp.float64, jnp.float64),
    "float32": (jnp.float32, jnp.float32),
    "both": (jnp.float64, jnp.float32),
}
"""What the state is held in, and what velocities are computed in."""

NODES = [256, 32]

MOST_SECONDS = 0.05
"""A method is not tried at stricter tolerances than that at which it takes so long."""


def _cast(tree, dtype):
    """A tree with its arrays in another precision."""
    return jax.tree.map(lambda a: a.astype(dtype) if eqx.is_array(a) else a, tree)


@eqx.filter_jit
def _end(method, equations, system, start, horizon, tolerance):
    """Outputs at the end; velocities in the system's precision, the state in `start`'s."""
    stage = system.inputs.dtype
    state, layout = jax.tree.flatten(start.parameters)
    weights = _cast(start.weights, stage)

    def field(t, state, args):
        now = Ensemble(weights, jax.tree.unflatten(layout, _cast(state, stage)))
        speeds = jax.tree.leaves(system.dynamics.velocity(equations, now, system.batch)[0])
        return [v.astype(s.dtype) for v, s in zip(speeds, state, strict=True)]

    found = diffrax.diffeqsolve(
        diffrax.ODETerm(field), method, 0.0, horizon, 1e-2, state,
        stepsize_controller=diffrax.PIDController(tolerance, tolerance, norm=by_kind),
        max_steps=100_000, throw=False,
    )  # fmt: skip
    assert found.ys is not None
    end = jax.tree.unflatten(layout, [leaf[-1] for leaf in found.ys])
    return outputs(system, Ensemble(weights, _cast(end, stage)))


def measure() -> list[Row]:
    """One row an error: the cheapest runs that reach it."""
    problem, runs = small(len(NODES)), []
    with engine(problem, "steps", False, "float64") as work:
        double = System.of(problem, jnp.float64)
        start = work.placed(work.first_design().with_counts(NODES).replicate(1))
        horizon = float(problem.times[-1])
        finest = _end(diffrax.Dopri8(), double.equations, double, start, horizon, 1e-10)
        for name, (held, stage) in PRECISIONS.items():
            system = System.of(problem, stage)
            for method in METHODS:
                for tolerance in TOLERANCES:
                    call = partial(
                        _end, method(), system.equations, system, _cast(start, held),
                        jnp.asarray(horizon, held), jnp.asarray(tolerance, held),
                    )  # fmt: skip
                    off = np.asarray(call(), float) - np.asarray(finest)
                    error = float(np.sqrt(np.mean(off**2, axis=0)).max())
                    seconds = best(call, 5)
                    runs.append((seconds, error, method.__name__, name, tolerance))
                    if seconds > MOST_SECONDS:
                        break
    return [_row(runs, error) for error in ERRORS]


def _row(runs: list[tuple], error: float) -> Row:
    """What the taken method costs against the cheapest one in float64, and all others."""
    good = [run for run in runs if run[1] <= error]
    cheapest: dict[tuple[str, str], float] = {}
    for seconds, _, method, precision, _ in good:
        key = (method, precision)
        cheapest[key] = min(seconds, cheapest.get(key, np.inf))
    taken = min(
        seconds
        for seconds, _, method, precision, tolerance in good
        if precision == "float64" and method == type(method_for(tolerance)).__name__
    )
    ratio = taken / min(s for (_, precision), s in cheapest.items() if precision == "float64")
    listed = sorted(cheapest.items(), key=lambda item: item[1])
    return Row(
        f"time stepping, 2 hidden layers, time error {error:g}",
        "",
        f"{ratio:.2f} × the cheapest in float64",
        f"{' × '.join(map(str, NODES))} nodes, ms: "
        + ", ".join(f"{m} {p} {1e3 * s:.1f}" for (m, p), s in listed),
    )


if __name__ == "__main__":
    print(lines(measure()))
