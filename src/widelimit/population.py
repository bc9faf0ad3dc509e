"""Data from a population: a law of inputs and a rule for targets in place of rows.

Like the laws of parameters, every law of inputs is the image of independent standard normals, so
that one map serves samples and, later, quadrature nodes of the population.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from widelimit import formula
from widelimit.data import Dataset, Points, Source
from widelimit.laws import Count, Number, component_weights, given_to_all, ndtr, number_or_vector

EVALUATION = 4096
"""Points that measure the risk where training draws fresh points: drawn once, by the seed."""

OBSERVED = 32
"""At so many of them outputs are kept, unless the problem says where."""

MOST_NUMBERS = 2**27
"""Inputs of a sample hold at most so many numbers (one gigabyte)."""

NO_WIDTH = 0
"""Stands where the keys of networks have a width: a sample's key is never that of a network."""

Normals = Float[Array, "points coordinates"]


class _Inputs(BaseModel):
    """A law of inputs x in R^`dimension`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dimension: Count

    @property
    def coordinates(self) -> int:
        """How many standard normals make one input."""
        return self.dimension

    def transform(self, z: Normals) -> Float[Array, "points inputs"]:
        """Inputs with this law from standard normals, one row each."""
        raise NotImplementedError

    def targets(self, z: Normals) -> Float[Array, " points"] | None:
        """The targets that the law itself gives to its points, if it does."""
        return None


class Gaussian(_Inputs):
    """x = std · G, with independent standard normal entries G."""

    law: Literal["gaussian"] = "gaussian"
    std: Annotated[Number, Field(gt=0)] = 1.0

    def transform(self, z: Normals) -> Float[Array, "points inputs"]:
        """Normals of this standard deviation."""
        return self.std * z


class Hypercube(_Inputs):
    """Independent entries, each +1 or −1 with probability ½."""

    law: Literal["hypercube"] = "hypercube"

    def transform(self, z: Normals) -> Float[Array, "points inputs"]:
        """The signs."""
        return jnp.where(z >= 0, jnp.ones_like(z), -1)


class Sphere(_Inputs):
    """Uniform on the sphere |x| = radius, by default √dimension: entries of size 1."""

    law: Literal["sphere"] = "sphere"
    radius: Annotated[Number, Field(gt=0)] | None = None

    def transform(self, z: Normals) -> Float[Array, "points inputs"]:
        """The directions, scaled."""
        radius = self.dimension**0.5 if self.radius is None else self.radius
        return radius * z / jnp.linalg.norm(z, axis=1, keepdims=True)


class Component(BaseModel):
    """One normal law of a mixture: x ~ N(mean, std² I), with the target that goes with it.

    A number as mean stands for all entries. Components are equally likely unless each has a
    weight.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    weight: Number | None = None
    mean: Annotated[float | tuple[float, ...], BeforeValidator(number_or_vector)] = 0.0
    std: Annotated[Number, Field(ge=0)] = 1.0
    target: Number | None = None


class Mixture(_Inputs):
    """A mixture of normal laws; the component of a point may give its target (a class)."""

    law: Literal["mixture"] = "mixture"
    components: Annotated[tuple[Component, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _fits(self) -> "Mixture":
        for index, component in enumerate(self.components):
            mean = component.mean
            if isinstance(mean, tuple) and len(mean) != self.dimension:
                raise ValueError(
                    f"components[{index}].mean: found {len(mean)} entries; the dimension is "
                    f"{self.dimension}"
                )
        component_weights(self.components)
        given_to_all(self.components, "target")
        return self

    @property
    def coordinates(self) -> int:
        """One more, which chooses the component."""
        return self.dimension + 1

    def _chosen(self, z: Normals) -> Array:
        """The component of every point."""
        edges = jnp.asarray(np.cumsum(component_weights(self.components))[:-1], z.dtype)
        return jnp.searchsorted(edges, ndtr(z[:, 0]), side="right")

    def transform(self, z: Normals) -> Float[Array, "points inputs"]:
        """The components' own normals."""
        means = np.array([np.broadcast_to(c.mean, self.dimension) for c in self.components])
        stds = np.array([c.std for c in self.components])
        chosen = self._chosen(z)
        return jnp.asarray(means, z.dtype)[chosen] + (
            jnp.asarray(stds, z.dtype)[chosen, None] * z[:, 1:]
        )

    def targets(self, z: Normals) -> Float[Array, " points"] | None:
        """The components' targets."""
        given = given_to_all(self.components, "target")
        return jnp.asarray(given, z.dtype)[self._chosen(z)] if given else None


class Target(BaseModel):
    """y = formula(x), in the inputs x1, x2, …; see `widelimit.formula`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    formula: str


class Population(Source):
    """Points (x, y) of a law: `samples` of them, drawn by the seed, or fresh ones at every step.

    With `samples` the data are these points and nothing else. Without, SGD draws new points at
    every step; then `EVALUATION` points, drawn by the seed and never trained on, measure the risk.
    """

    source: Literal["population"] = "population"
    inputs: Annotated[Gaussian | Hypercube | Sphere | Mixture, Field(discriminator="law")]
    target: Target | None = None

    @model_validator(mode="after")
    def _whole(self) -> "Population":
        own = isinstance(self.inputs, Mixture) and self.inputs.components[0].target is not None
        if self.target is not None and own:
            raise ValueError("target: the components of the mixture have targets; give one kind")
        if self.target is None and not own:
            raise ValueError(
                "target: is missing; give a formula, such as { formula = 'tanh(x1)' }"
                + (", or a target to every component" if isinstance(self.inputs, Mixture) else "")
            )
        if self.target is not None:
            try:
                formula.check(self.target.formula, self.inputs.dimension)
            except ValueError as error:
                raise ValueError(f"target.formula: {error}") from None
        if self.samples is None and self.holdout > 0:
            raise ValueError(
                "holdout: needs a finite data set; give data.samples = n, or leave it out: without "
                "samples the risk is measured on points that are never trained on"
            )
        count = self.samples or EVALUATION
        if count * self.inputs.dimension > MOST_NUMBERS:
            raise ValueError(
                f"{'inputs.dimension' if self.samples is None else 'samples'}: {count} points with "
                f"{self.inputs.dimension} inputs are more than the {MOST_NUMBERS} numbers that a "
                "sample may hold; ask for less"
            )
        return self

    def load(self, folder: Path, seed: int) -> Dataset:
        """The sample, split as other sources are, or the points that measure the risk."""
        return replace(super().load(folder, seed), fresh=self.samples is None)

    def rows(self, folder: Path, seed: int) -> Points:
        """A sample of the law in double precision, its key made from the seed alone."""
        with jax.enable_x64(True):
            key = jax.random.fold_in(jax.random.key(seed), NO_WIDTH)
            key = jax.random.fold_in(key, int(self.samples is None))  # two samples, not one
            inputs, targets = map(np.asarray, self.draw(key, self.samples or EVALUATION, float))
        bad = np.flatnonzero(~np.isfinite(targets))
        if len(bad):
            x = ", ".join(f"{entry:.4g}" for entry in inputs[bad[0]][:4])
            more = ", …" if inputs.shape[1] > 4 else ""
            raise ValueError(
                f"target.formula: is {targets[bad[0]]} at x = ({x}{more}), a point of the sample; "
                "use a formula that is finite everywhere"
            )
        return Points(inputs, targets[:, None], None, ("0",))

    def draw(
        self, key: PRNGKeyArray, count: int, dtype: DTypeLike
    ) -> tuple[Float[Array, "points inputs"], Float[Array, " points"]]:
        """`count` independent points."""
        return self.points(jax.random.normal(key, (count, self.inputs.coordinates), dtype))

    def points(self, z: Normals) -> tuple[Float[Array, "points inputs"], Float[Array, " points"]]:
        """Points (x, y) from standard normals, one row each."""
        x = self.inputs.transform(z)
        own = self.inputs.targets(z)
        if own is not None:
            return x, own
        assert self.target is not None
        return x, formula.evaluate(self.target.formula, x)
