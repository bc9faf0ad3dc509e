"""A problem made ready for computing: equations, rates and data as arrays of one precision."""

import dataclasses
import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Float

from widelimit.ensemble.dynamics import Dynamics
from widelimit.ensemble.equations import Batch, Equations
from widelimit.ensemble.model import model_of
from widelimit.ensemble.neurons import Ensemble
from widelimit.nodes.measure import Measure
from widelimit.nodes.reduction import whole_population
from widelimit.problem.functionals import Functional, Sight
from widelimit.problem.problem import Problem


class Motion(NamedTuple):
    """What moves an ensemble, whatever is looked at: one compilation for all observed inputs."""

    equations: Equations
    dynamics: Dynamics
    batch: Batch
    label_noise: Array | None
    """The variance of fresh noise on targets, if there is any: only fluctuations feel it."""


class System(eqx.Module):
    """The equations of a problem with their constants.

    `inputs` stacks all inputs at which outputs are wanted: training inputs first, then observed
    ones if they differ, then the holdout; `views` names the pieces.
    """

    equations: Equations = eqx.field(static=True)
    dynamics: Dynamics
    batch: Batch
    inputs: Float[Array, "points inputs"]
    views: tuple[tuple[str, int, int], ...] = eqx.field(static=True)
    label_noise: Array | None = None
    functionals: tuple[Functional, ...] = eqx.field(static=True, default=())
    columns: tuple[int, ...] | None = eqx.field(static=True, default=None)
    """Which coordinates of x the first inputs are, where others were folded away."""

    @classmethod
    def of(cls, problem: Problem, dtype: DTypeLike) -> "System":
        """The system of a problem, its numbers held as `dtype`."""
        problem.require_single()
        model, data, training = model_of(problem), problem.dataset, problem.training
        decay, delta = training.weight_decay, training.epsilon
        pieces = {"train": data.inputs}
        if problem.observed_inputs is not data.inputs:
            pieces["observed"] = problem.observed_inputs
        if len(data.holdout_inputs):
            pieces["holdout"] = data.holdout_inputs
        if (whole := whole_population(problem)) is not None:
            pieces["population"] = whole.inputs
        stops = np.cumsum([len(piece) for piece in pieces.values()])
        views = tuple(
            (name, int(stop) - len(piece), int(stop))
            for (name, piece), stop in zip(pieces.items(), stops, strict=True)
        )
        return cls(
            model.equations(training.loss),
            Dynamics(
                model.rates(training.learning_rates, dtype),
                None if decay is None else model.rates(decay, dtype),
                None if delta is None else model.rates(delta, dtype),
                training.rule,
            ),
            Batch(*(jnp.asarray(a, dtype) for a in (data.inputs, data.targets, data.weights))),
            jnp.asarray(np.concatenate(list(pieces.values())), dtype),
            views,
            jnp.asarray(training.label_noise, dtype) if training.label_noise else None,
            problem.observe.functionals,
            problem.data.columns if isinstance(problem.data, Measure) else None,
        )

    @property
    def motion(self) -> Motion:
        """The system without the inputs at which outputs are wanted."""
        return Motion(self.equations, self.dynamics, self.batch, self.label_noise)

    @property
    def observed_outputs(self) -> int:
        """How many outputs are observed at a time: inputs times channels."""
        return len(self.inputs[self.view("observed")]) * self.batch.targets.shape[1]

    def in_pieces(self, points: int) -> "System":
        """The same system, handling at most so many data points at once."""
        return dataclasses.replace(self, equations=self.equations.in_pieces(points))

    def with_batch(self, inputs: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> "System":
        """The same system that learns from other data."""
        dtype = self.inputs.dtype
        batch = Batch(*(jnp.asarray(a, dtype) for a in (inputs, targets, weights)))
        return dataclasses.replace(self, batch=batch)

    def finer(self, times: int) -> "System":
        """The same system with so many times the nodes inside layers that hold a quadrature."""
        return dataclasses.replace(self, equations=self.equations.finer(times))

    def view(self, name: str) -> slice:
        """Where "train", "observed" or "holdout" stands among the stacked inputs."""
        places = {name: slice(start, stop) for name, start, stop in self.views}
        return places.get(name, places["train"] if name == "observed" else slice(0, 0))


def look(system: System, ensemble: Ensemble, time: ArrayLike) -> dict[str, Array]:
    """The functionals that were asked for, by variable."""
    if not system.functionals:
        return {}
    return _look(system, ensemble, jnp.asarray(time, system.inputs.dtype))


@eqx.filter_jit
def _look(system: System, ensemble: Ensemble, time: Array) -> dict[str, Array]:
    sight = _sight(system, ensemble, time)
    found = [functional.values(sight) for functional in system.functionals]
    return {name: values for part in found for name, (_, values) in part.items()}


def dims_of_functionals(system: System, ensemble: Ensemble) -> dict[str, tuple[str, ...]]:
    """The dimensions of what `look` returns."""
    found: dict[str, tuple[str, ...]] = {}

    def traced(ensemble: Ensemble) -> None:
        for functional in system.functionals:
            values = functional.values(_sight(system, ensemble, jnp.zeros((), jnp.float32)))
            found.update({name: dims for name, (dims, _) in values.items()})

    jax.eval_shape(traced, ensemble)
    return found


def numbers_looked_at(system: System, ensemble: Ensemble) -> int:
    """How many numbers `look` returns."""
    found = jax.eval_shape(lambda: _look(system, ensemble, jnp.zeros(())))
    return sum(math.prod(values.shape) for values in jax.tree.leaves(found))


def _sight(system: System, ensemble: Ensemble, time: Array) -> Sight:
    """What functionals may look at."""
    equations, batch, rates = system.equations, system.batch, system.dynamics.rates
    x = batch.inputs
    if system.columns is not None:
        x = jnp.zeros((len(x), 1 + max(system.columns, default=0)), x.dtype)
        x = x.at[:, list(system.columns)].set(batch.inputs[:, : len(system.columns)])
    observed = system.inputs[system.view("observed")]
    return Sight(
        x,
        batch.targets,
        batch.weights,
        equations.output(ensemble, batch.inputs),
        ensemble.by_layer(ensemble.weights),
        ensemble.parameters,
        equations.scaled(rates.at(time)),
        ensemble.masses(),
        lambda: equations.gradient(ensemble, batch),
        lambda: equations.tangent_kernel(rates, ensemble, observed, time),
    )


@eqx.filter_jit
def outputs(system: System, ensemble: Ensemble) -> Float[Array, "points channels"]:
    """f at all stacked inputs."""
    return system.equations.output(ensemble, system.inputs)
