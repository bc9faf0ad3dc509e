"""A transformer written out head by head, and what automatic differentiation makes of its risk.

    h ← h + Σ_i p_i softmax(hQ_i (hK_i)ᵀ/√d) h V_i O_iᵀ,   then   h ← h + Σ_i p_i a_i φ(w_i·h)

The conditional Wasserstein gradient of arXiv:2605.17660 at a unit of depth s is the gradient of the
first variation of the risk by the law at s: ∇_θ R divided by what the unit weighs, depth by depth.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from widelimit.basics.precision import in_precision
from widelimit.ensemble.equations import Batch
from widelimit.ensemble.neurons import Ensemble
from widelimit.ensemble.residual.equations import units_of
from widelimit.ensemble.system import System
from widelimit.networks.sampled import drawn, groups_of
from widelimit.papers.claims import Measured
from widelimit.papers.transformers.study import TOKENS, problem
from widelimit.problem.problem import Problem

Units = tuple[dict[str, Array], ...]

ROUNDING = 1e-12
SHAPE = (3, 4)


def off_the_gradient(causal: bool, detached: bool) -> Measured:
    """The largest difference between the library's gradient and that of the plain risk.

    In units of the largest entry of each parameter's gradient; units have weights that differ.
    `detached` cuts the way through the softmax.
    """
    heads = {"unit": "attention", "key": 2, "causal": causal}
    asked = problem(network={"blocks": [heads, "perceptron"]})
    with in_precision("float64"):
        system = System.of(asked, jnp.float64)
        network = _unequal(asked, system)
        found = units_of(network.at((system.equations.gradient(network, system.batch), ()))).units
        own = units_of(network)
        slopes = jax.grad(_risk)(own.units, network, system.batch, causal, detached)
        apart = [
            float(
                np.abs(gradient - slopes[kind][name] / weight[:, None]).max()
                / np.abs(gradient).max()
            )
            for kind, weight in enumerate(network.weights)
            for name, gradient in found[kind].items()
        ]
    return Measured(max(apart), ROUNDING)


def _unequal(asked: Problem, system: System) -> Ensemble:
    """A transformer whose units weigh 1 to 2, unevenly over the depths."""
    (keys,) = groups_of(asked, system, SHAPE, 1)
    network = jax.tree.map(lambda own: own[0], drawn(asked, system, SHAPE, keys)[0])
    weights = tuple(w * jnp.linspace(1.0, 2.0, len(w)) for w in network.weights)
    return network.weighted(tuple(w / w.sum() for w in weights))


def _risk(units: Units, network: Ensemble, batch: Batch, causal: bool, detached: bool) -> Array:
    """½ E (f − y)²."""
    ends = units_of(network)
    heads, neurons = units
    total = jnp.zeros(())
    for x, y, share in zip(batch.inputs, batch.targets, batch.weights, strict=True):
        h = x.reshape(TOKENS, -1) @ ends.embedding
        for block in np.arange(len(network.weights[0])).reshape(SHAPE):
            h = h + sum(
                network.weights[0][i]
                * _head({n: own[i] for n, own in heads.items()}, h, causal, detached)
                for i in block
            )
            h = h + sum(
                network.weights[1][i]
                * jnp.outer(jnp.tanh(h @ neurons["input"][i]), neurons["readout"][i])
                for i in block
            )
        f = h.mean(axis=0) @ ends.unembedding
        total = total + share * 0.5 * ((f - y) ** 2).sum()
    return total


def _head(theta: dict[str, Array], h: Array, causal: bool, detached: bool) -> Array:
    query, key, value, output = (
        theta[name].reshape(h.shape[1], -1) for name in ("query", "key", "value", "output")
    )
    scores = (h @ query) @ (h @ key).T / np.sqrt(query.shape[1])
    if causal:
        scores = jnp.where(np.tril(np.ones(scores.shape, bool)), scores, -jnp.inf)
    shares = jax.nn.softmax(scores, axis=1)
    if detached:
        shares = jax.lax.stop_gradient(shares)
    return shares @ (h @ value) @ output.T
