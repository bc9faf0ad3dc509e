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
from widelimit.ensemble.meanfield import Batch, Equations, gradient, output, tangent_kernel
from widelimit.ensemble.neurons import Ensemble, Rates
from widelimit.nodes.measure import Measure
from widelimit.nodes.reduction import whole_population
from widelimit.problem.functionals import Functional, Sight
from widelimit.problem.network.network import Network
from widelimit.problem.problem import Problem
from widelimit.problem.training.schedules import Rate
from widelimit.problem.training.training import PerKind


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
        network, data, training = problem.network, problem.dataset, problem.training
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
            Equations(
                network.activation_functions,
                training.loss,
                network.scale,
                layers=network.layer_maps,
                image=network.image,
            ),
            Dynamics(*_rates(problem, dtype), rule=training.rule),
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
        return dataclasses.replace(self, equations=self.equations._replace(points=points))

    def with_batch(self, inputs: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> "System":
        """The same system that learns from other data."""
        dtype = self.inputs.dtype
        batch = Batch(*(jnp.asarray(a, dtype) for a in (inputs, targets, weights)))
        return dataclasses.replace(self, batch=batch)

    def finer(self, times: int) -> "System":
        """The same system with so many times the nodes inside layers that hold a quadrature."""
        layers = tuple(layer.finer(times) for layer in self.equations.layers)
        return dataclasses.replace(self, equations=self.equations._replace(layers=layers))

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
    scale = equations.scale**2
    return Sight(
        x,
        batch.targets,
        batch.weights,
        output(equations, ensemble, batch.inputs),
        ensemble.by_layer(ensemble.weights),
        ensemble.parameters,
        jax.tree.map(lambda rate: rate / scale, rates.at(time)),
        ensemble.masses(),
        lambda: gradient(equations, ensemble, batch),
        lambda: tangent_kernel(equations, rates, ensemble, observed, time),
    )


@eqx.filter_jit
def outputs(system: System, ensemble: Ensemble) -> Float[Array, "points channels"]:
    """f at all stacked inputs."""
    return output(system.equations, ensemble, system.inputs)


def _rates(problem: Problem, dtype: DTypeLike) -> tuple[Rates, Rates | None]:
    """ξ(t) and the weight decay λ(t) of every kind of parameter, in their layout."""
    training = problem.training
    rates = _in_layout(problem.network, training.learning_rates, dtype)
    decay = training.weight_decay
    return rates, None if decay is None else _in_layout(problem.network, decay, dtype)


def _in_layout(network: Network, chosen: PerKind, dtype: DTypeLike) -> Rates:
    *biases, last = chosen.bias_rates(network.depth)
    hidden = chosen.hidden_rates(network.depth)
    return Rates(
        input=Rate.of(chosen.input, dtype),
        hidden=tuple(Rate.of(rate, dtype) for rate in hidden),
        readout=Rate.of(chosen.readout, dtype),
        biases=tuple(Rate.of(b, dtype) for b in biases) if network.biases else None,
        output_bias=Rate.of(last, dtype) if network.output_bias else None,
    )
