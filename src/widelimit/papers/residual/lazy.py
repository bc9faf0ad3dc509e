"""Units that are linear in how far their parameters have moved: what α → ∞ leaves of perceptrons.

    v(h, θ) = a φ(w·h),   rates divided by α²: θ moves by δ/α, and
    α v → α a φ(w·h) + δ_a φ(w·h) + a φ'(w·h) δ_w·h + O(1/α),   E[a φ(w·h)] = 0

(the lazy ODE of Chizat 2025: linear in the parameters, not in the stream.) What is left out is odd
in a at the order 1/α, so it vanishes for laws that are symmetric in a, and 1/α² is next.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

from widelimit.limit.solve import solved
from widelimit.papers.claims import Measured
from widelimit.papers.measures.spread import local_exponent
from widelimit.papers.residual.study import ATOMS, READOUTS, of_atoms
from widelimit.problem.network.units import Theta, Token, Unit

ALPHAS = [32.0, 64.0, 128.0]
DEPTH = 2

SKEW = {"law": "atoms", "points": [*READOUTS[::2], [-1.4, 0.5]]}
"""Three readouts of mean zero that are not symmetric."""

STILL = {"law": "atoms", "points": [0.0]}
RATES = {"input": 0.0, "readout": 0.0, "query": 1.0, "key": 1.0}


class Linearised(Unit):
    """The perceptron, linear in δ_w and δ_a, which start at zero while w and a stay.

    They go by the names `query` and `key`, which have laws and rates of their own.
    """

    def sizes(self, stream: int, biases: bool) -> dict[str, int]:
        """w, a, δ_w and δ_a."""
        return dict.fromkeys(("input", "readout", "query", "key"), stream)

    def value(self, theta: Theta, h: Token) -> Token:
        """Value and first derivative, for tanh."""
        phi = jnp.tanh(h @ theta["input"])[:, None]
        slope = (1 - phi**2) * (h @ theta["query"])[:, None]
        return phi * (theta["readout"] + theta["key"]) + slope * theta["readout"]


def approach(skew: bool) -> Measured:
    """The exponent in α of the distance between the limit and the lazy one."""
    laws = ATOMS | ({"readout": SKEW} if skew else {})
    lazy = {"blocks": [Linearised()], "initial": laws | {"query": STILL, "key": STILL}}
    linear = _output(network=lazy, training={"learning_rates": RATES})

    def apart(alpha: float) -> float:
        found = _output(network={"initial": laws, "residual_scale": alpha})
        return float(np.sqrt(np.mean((found - linear) ** 2)))

    return local_exponent(ALPHAS, list(map(apart, ALPHAS)))


def _output(**changes: Any) -> np.ndarray:
    """Outputs of the limit at the horizon."""
    limit = solved(of_atoms(DEPTH, **changes), progress=False)
    return limit.dataset.output.isel(time=-1).values.ravel()
