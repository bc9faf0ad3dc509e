"""Symmetry: what is left of inputs and first-layer weights when most coordinates do not matter.

Let the target depend on k coordinates z of x alone, and let the laws of x and of the first weights
w be the same under rotations of the other m = d − k. The limit then keeps this symmetry: its output
depends on z and |x_⊥|, a neuron is u (its weights for z), |w_⊥| and the rest of its label, and

    E φ(w·x) = E_s φ(u·z + |w_⊥| |x_⊥| s),   s the cosine between two directions in R^m.

This is exact at every d. As d → ∞ with weights of size 1/√d, |w_⊥| and |x_⊥|/√d are numbers and
√m s is normal; then u starts at 0, and only the law of x's entries counts: that of the hypercube
will do (Abbe, Boix-Adsera & Misiakiewicz 2022, dimension-free dynamics).
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from pydantic import BaseModel, ConfigDict
from scipy.linalg import eigh_tridiagonal
from scipy.special import gammainccinv, gammaincinv, ndtr

from widelimit.problem.data.population import Population, Sphere
from widelimit.problem.network.architecture import Architecture
from widelimit.problem.network.laws import Atoms, Normal, Product
from widelimit.problem.network.laws import Sphere as SphereLaw
from widelimit.problem.network.layers import Dense, Layer, Shape, Values
from widelimit.problem.network.marks import Block
from widelimit.problem.network.network import Network
from widelimit.problem.training.training import Training

COSINES = 12
"""Nodes of the average over the cosine; the error estimate doubles them."""

Rest = int | Literal["inf"]
"""How many coordinates do not matter."""


def length(z: np.ndarray, dimension: int) -> np.ndarray:
    """The length of a normal vector in R^dimension, as the image of one standard normal.

    Its square has the law χ²: twice a gamma law of shape dimension/2.
    """
    below = gammaincinv(dimension / 2, ndtr(np.minimum(z, 0)))
    above = gammainccinv(dimension / 2, ndtr(-np.maximum(z, 0)))
    return np.sqrt(2 * np.where(z > 0, above, below))


@lru_cache
def cosines(rest: Rest, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss points and weights for s, of density ∝ (1 − s²)^((m−3)/2), or normal at m = "inf".

    By Golub & Welsch from the recurrence of the Gegenbauer (Hermite) polynomials.
    """
    n = np.arange(1.0, count)
    if rest == "inf":
        squares = n
    else:
        a = (rest - 2) / 2
        more = n[1:] * (n[1:] + 2 * a - 1) / (4 * (n[1:] + a) * (n[1:] + a - 1))
        squares = np.append(1 / rest, more)[: count - 1]
    points, vectors = eigh_tridiagonal(np.zeros(count), np.sqrt(squares))
    return points, vectors[0] ** 2


class Folded(Layer):
    """A dense first layer after folding: the entries of z are u·z + |w_⊥||x_⊥| s, one for each s.

    `pooled` takes the average over s. It is the layer of a folded problem, not one to ask for.
    """

    linear: ClassVar[bool] = True

    rest: Rest
    nodes: int

    def weight(self, before: Shape) -> Shape:
        """(u, |w_⊥|)."""
        return before

    def shape(self, before: Shape) -> Shape:
        """One number for each cosine."""
        return (self.nodes,)

    def after(self, before: Shape) -> Shape:
        """One number."""
        return ()

    def pair(self, weight: Array, value: Array) -> Array:
        """u·z + |w_⊥||x_⊥| s."""
        s = jnp.asarray(cosines(self.rest, self.nodes)[0], value.dtype)
        return weight[:-1] @ value[:-1] + weight[-1] * value[-1] * s

    def pooled(self, values: Values) -> Float[Array, "points below *after"]:
        """The average over the cosine."""
        return values @ jnp.asarray(cosines(self.rest, self.nodes)[1], values.dtype)

    def finer(self, times: int) -> "Folded":
        """With so many times as many cosines."""
        return self.model_copy(update={"nodes": times * self.nodes})


class Isotropic(BaseModel):
    """The law of (v_1 … v_k, |v_⊥|) for an isotropic v in R^(k+m).

    v is normal with this standard deviation, or uniform on the sphere of this radius.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    relevant: int
    rest: int
    std: float | None = None
    radius: float | None = None

    @property
    def vector_size(self) -> int:
        """k + 1."""
        return self.relevant + 1

    def coordinates(self, size: int) -> int:
        """One normal for each of the k numbers, and one for the length."""
        return size

    def transform(self, z: np.ndarray) -> np.ndarray:
        """`(point, k + 1)` normals to `(point, k + 1)` numbers."""
        v = np.concatenate([z[:, :-1], length(z[:, -1:], self.rest)], axis=1)
        if self.std is not None:
            return self.std * v
        assert self.radius is not None
        return self.radius * v / np.linalg.norm(v, axis=1, keepdims=True)

    def atoms(self) -> None:
        """It has a density."""
        return None


@dataclass(frozen=True)
class Folding:
    """How a problem is folded: `relevant` coordinates (from 0) are kept, `rest` others are not."""

    relevant: tuple[int, ...]
    rest: Rest
    deviation: float
    """At d = ∞: the standard deviation of an entry of x."""

    def inputs(self, x: np.ndarray) -> np.ndarray:
        """(z, |x_⊥|) of inputs; at d = ∞ these are x1 … xk alone, and |x_⊥|/√d is a number."""
        z = x[:, list(self.relevant)]
        if self.rest == "inf":
            return np.column_stack([z, np.full(len(x), self.deviation)])
        others = np.delete(x, list(self.relevant), axis=1)
        return np.column_stack([z, np.linalg.norm(others, axis=1)])

    def points(self, population: Population) -> tuple[Block, ...] | None:
        """The law of (z, |x_⊥|); None where it is made from whole points."""
        if self.rest == "inf":
            return None
        law, k = population.inputs, len(self.relevant)
        radius = law.length if isinstance(law, Sphere) else None
        std = law.deviation if radius is None else None
        folded = Isotropic(relevant=k, rest=self.rest, std=std, radius=radius)
        return (Block("points", folded, k + 1),)

    def network(self, network: Network) -> Network:
        """The network of folded neurons."""
        first, *others = network.layer_maps
        assert isinstance(first, Dense)
        initial = network.initial.model_copy(update={"input": self._input_law(network)})
        layers = (Folded(rest=self.rest, nodes=COSINES), *others)
        return network.model_copy(update={"layers": layers, "initial": initial})

    def _input_law(self, network: Network) -> Atoms | Isotropic:
        law, k = network.initial.input, len(self.relevant)
        assert law is not None
        assert not isinstance(law, Product)
        own = {"radius": law.radius} if isinstance(law, SphereLaw) else {"std": law.deviation()}
        if self.rest == "inf":
            return Atoms(points=((*[0.0] * k, *own.values()),))
        return Isotropic(relevant=k, rest=self.rest, **own)


def folding_of(
    network: Architecture, training: Training, population: Population
) -> tuple[Folding | None, str]:
    """How the limit of a problem can be folded; else why not, in words."""
    relevant = population.relevant
    if not isinstance(network, Network):
        return None, "the network is residual"
    infinite = population.inputs.dimension == "inf"
    if relevant is None or not (infinite or population.inputs.isotropic):
        return None, "the law of inputs is not the same under rotations"
    if not isinstance(network.layer_maps[0], Dense) or network.image is not None:
        return None, "the first layer is not fully connected"
    if training.adam is not None:
        return None, "Adam's steps depend on the axes"
    if training.rule.noisy:
        return None, "noise on weights turns them"
    if not _isotropic(network, infinite):
        return None, (
            "the law of input weights is not the same under rotations: give it mean 0"
            if infinite
            else "the law of input weights is not normal with mean 0, nor a sphere's"
        )
    if infinite:
        kept = tuple(range(population.law.size))
        return Folding(kept, "inf", population.inputs.deviation), ""
    rest = population.inputs.size - len(relevant)
    if rest < 2:
        return None, "all inputs but one matter"
    return Folding(relevant, rest, math.nan), ""


def _isotropic(network: Network, infinite: bool) -> bool:
    """Whether rotations leave the law of input weights as it is; at d = ∞ their mean decides."""
    law = network.initial.input
    if isinstance(law, SphereLaw):
        return True
    if law is None or law.joint or isinstance(law, Product):
        return False
    centred = abs(law.expectation()) <= 1e-12 * max(1.0, law.deviation())
    return centred and law.deviation() > 0 and (infinite or isinstance(law, Normal))
