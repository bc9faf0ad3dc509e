"""Data from a population: a law of inputs and a rule for targets in place of rows.

Like the laws of parameters, every law of inputs is the image of independent standard normals, so
that one map serves samples and quadrature nodes of the population. At dimension "inf" the points
are those coordinates that the target depends on; the rest is summed up by `symmetry`.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from widelimit.basics.precision import in_precision
from widelimit.basics.streams import Stream, key
from widelimit.basics.words import shown
from widelimit.problem.data import formula
from widelimit.problem.data.sources import Dataset, Points, Rows, Source
from widelimit.problem.network.activations import ACTIVATIONS, known_activation
from widelimit.problem.network.laws import (
    Atoms,
    Normal,
    Number,
    component_weights,
    given_to_all,
    ndtr,
    ndtri,
    number_or_vector,
)
from widelimit.problem.network.marks import Block

EVALUATION = 4096
"""Points that measure the risk where training draws fresh points: drawn once, by the seed."""

OBSERVED = 32
"""At so many of them outputs are kept, unless the problem says where."""

MOST_NUMBERS = 2**27
"""Inputs of a sample hold at most so many numbers (one gigabyte)."""

Normals = Float[Array, "points coordinates"]


def _dimension(value: Any) -> Any:
    """A whole number, or the word for infinity."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    if value == "inf" or (whole and value >= 1):
        return value
    raise ValueError(f"found {shown(value)}; must be a whole number from 1 on, or 'inf'")


class _Inputs(BaseModel):
    """A law of inputs x in R^`dimension`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    isotropic: ClassVar[bool] = False
    """Whether the law stays the same under every rotation."""

    dimension: Annotated[int | Literal["inf"], BeforeValidator(_dimension)]

    @property
    def size(self) -> int:
        """The dimension, where it is finite."""
        assert self.dimension != "inf"
        return self.dimension

    @property
    def coordinates(self) -> int:
        """How many standard normals make one input."""
        return self.size

    @property
    def mark(self) -> tuple[Block, ...]:
        """The law of `coordinates` numbers that `transform` makes an input of, for quadrature."""
        return (Block("normals", Normal(), self.coordinates),)

    @property
    def deviation(self) -> float:
        """The standard deviation of an entry of x: |x|/√d at dimension "inf"."""
        return 1.0

    def of_size(self, size: int) -> "_Inputs":
        """The law of so many coordinates of x at dimension "inf"."""
        return self.model_copy(update={"dimension": size})

    def transform(self, z: Normals) -> Float[Array, "points inputs"]:
        """Inputs with this law from standard normals, one row each."""
        raise NotImplementedError

    def targets(self, z: Normals) -> Float[Array, " points"] | None:
        """The targets that the law itself gives to its points, if it does."""
        return None


class Gaussian(_Inputs):
    """x = std · G, with independent standard normal entries G."""

    isotropic: ClassVar[bool] = True

    law: Literal["gaussian"] = "gaussian"
    std: Annotated[Number, Field(gt=0)] = 1.0

    @property
    def deviation(self) -> float:
        """The standard deviation of an entry of x."""
        return self.std

    def transform(self, z: Normals) -> Float[Array, "points inputs"]:
        """Normals of this standard deviation."""
        return self.std * z


class Hypercube(_Inputs):
    """Independent entries, each +1 or −1 with probability ½."""

    law: Literal["hypercube"] = "hypercube"

    @property
    def mark(self) -> tuple[Block, ...]:
        """The signs themselves: atoms."""
        return (Block("signs", Atoms(points=(-1.0, 1.0)), self.size),)

    def transform(self, z: Normals) -> Float[Array, "points inputs"]:
        """The signs."""
        return jnp.where(z >= 0, jnp.ones_like(z), -1)


class Sphere(_Inputs):
    """Uniform on the sphere |x| = radius, by default √dimension: entries of size 1."""

    isotropic: ClassVar[bool] = True

    law: Literal["sphere"] = "sphere"
    radius: Annotated[Number, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _known_at_infinity(self) -> "Sphere":
        if self.dimension == "inf" and self.radius is not None:
            raise ValueError(
                f"radius: found {self.radius}; at dimension 'inf' it is √dimension, leave it out"
            )
        return self

    @property
    def length(self) -> float:
        """The radius."""
        return self.size**0.5 if self.radius is None else self.radius

    def of_size(self, size: int) -> "Gaussian":
        """So many of infinitely many coordinates are standard normals."""
        return Gaussian(dimension=size)

    def transform(self, z: Normals) -> Float[Array, "points inputs"]:
        """The directions, scaled."""
        return self.length * z / jnp.linalg.norm(z, axis=1, keepdims=True)


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
        if self.dimension == "inf":
            raise ValueError(
                "dimension: found 'inf'; the limit of large dimensions is known for 'gaussian', "
                "'hypercube' and 'sphere'"
            )
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
        return self.size + 1

    @property
    def mark(self) -> tuple[Block, ...]:
        """The component as an atom, the normal in the middle of those that choose it; the rest."""
        weights = component_weights(self.components)
        middle = ndtri(np.cumsum(weights) - 0.5 * weights)
        chosen = Atoms(points=tuple(map(float, middle)), weights=tuple(map(float, weights)))
        return Block("component", chosen, 1), Block("normals", Normal(), self.size)

    def _chosen(self, z: Normals) -> Array:
        """The component of every point."""
        edges = jnp.asarray(np.cumsum(component_weights(self.components))[:-1], z.dtype)
        return jnp.searchsorted(edges, ndtr(z[:, 0]), side="right")

    def transform(self, z: Normals) -> Float[Array, "points inputs"]:
        """The components' own normals."""
        means = np.array([np.broadcast_to(c.mean, self.size) for c in self.components])
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
    """A rule for targets."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @property
    def relevant(self) -> tuple[int, ...]:
        """The coordinates of x that it depends on, counted from 0."""
        raise NotImplementedError

    def check(self, dimension: int | None) -> None:
        """Raise `ValueError` if it asks for more than the inputs have (None: infinitely many)."""
        raise NotImplementedError

    def values(self, x: Float[Array, "points inputs"]) -> Float[Array, " points"]:
        """y at every input."""
        raise NotImplementedError


class Formula(Target):
    """y = formula(x), in the inputs x1, x2, …; see `widelimit.formula`."""

    formula: str

    @property
    def relevant(self) -> tuple[int, ...]:
        """The inputs that are in it."""
        return formula.inputs(self.formula)

    def check(self, dimension: int | None) -> None:
        """Every piece must be known."""
        try:
            formula.check(self.formula, dimension)
        except ValueError as error:
            raise ValueError(f"formula: {error}") from None

    def values(self, x: Float[Array, "points inputs"]) -> Float[Array, " points"]:
        """The formula at every input."""
        return formula.evaluate(self.formula, x)


class Teacher(Target):
    """A network of m neurons that sees x1 … xk: y = (1/m) Σ_j a_j φ(w_j·x), teacher (m, k).

    Without a readout every a_j is 1.
    """

    teacher: Rows
    activation: Annotated[str, BeforeValidator(known_activation)] = "tanh"
    readout: Annotated[tuple[Number, ...], Field(min_length=1)] | None = None

    @property
    def relevant(self) -> tuple[int, ...]:
        """As many as a neuron has weights."""
        return tuple(range(len(self.teacher[0])))

    def check(self, dimension: int | None) -> None:
        """Weights and readouts must fit."""
        if dimension is not None and len(self.teacher[0]) > dimension:
            raise ValueError(
                f"teacher: found rows of {len(self.teacher[0])}; the dimension is {dimension}"
            )
        if self.readout is not None and len(self.readout) != len(self.teacher):
            raise ValueError(
                f"readout: found {len(self.readout)} numbers for {len(self.teacher)} neurons"
            )

    def values(self, x: Float[Array, "points inputs"]) -> Float[Array, " points"]:
        """The teacher's output at every input."""
        w = jnp.asarray(self.teacher, x.dtype)
        a = (
            jnp.ones(len(w), x.dtype)
            if self.readout is None
            else jnp.asarray(self.readout, x.dtype)
        )
        return ACTIVATIONS[self.activation](x[:, : w.shape[1]] @ w.T) @ a / len(w)


def _kind_of_target(value: Any) -> str:
    """A table is a teacher if it says so, else a formula."""
    teacher = "teacher" in value if isinstance(value, dict) else isinstance(value, Teacher)
    return "of a teacher" if teacher else "of a formula"


AnyTarget = Annotated[
    Annotated[Formula, Tag("of a formula")] | Annotated[Teacher, Tag("of a teacher")],
    Discriminator(_kind_of_target),
]
"""A rule for targets, told apart by its keys."""


class Population(Source):
    """Points (x, y) of a law: `samples` of them, drawn by the seed, or fresh ones at every step.

    With `samples` the data are these points and nothing else. Without, SGD draws new points at
    every step, and the limit is that over the law itself; then `EVALUATION` points, drawn by the
    seed and never trained on, measure the risk of networks.
    """

    source: Literal["population"] = "population"
    inputs: Annotated[Gaussian | Hypercube | Sphere | Mixture, Field(discriminator="law")]
    target: AnyTarget | None = None

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
        infinite = self.inputs.dimension == "inf"
        if self.target is not None:
            try:
                self.target.check(None if infinite else self.inputs.size)
            except ValueError as error:
                raise ValueError(f"target.{error}") from None
        if infinite and self.samples is not None:
            raise ValueError(
                "samples: found beside dimension = 'inf', where points have infinitely many "
                "entries; give a finite dimension, or leave samples out"
            )
        if self.samples is None and self.holdout > 0:
            raise ValueError(
                "holdout: needs a finite data set; give data.samples = n, or leave it out: without "
                "samples the risk is measured on points that are never trained on"
            )
        count, size = self.samples or EVALUATION, self.law.size
        if count * size > MOST_NUMBERS:
            raise ValueError(
                f"{'inputs.dimension' if self.samples is None else 'samples'}: {count} points with "
                f"{size} inputs are more than the {MOST_NUMBERS} numbers that a sample may hold; "
                "ask for less"
            )
        return self

    @property
    def relevant(self) -> tuple[int, ...] | None:
        """The coordinates that the target depends on; None if its law gives it."""
        return None if self.target is None else self.target.relevant

    @property
    def law(self) -> _Inputs:
        """The law of inputs; at dimension "inf" that of x1 … xk, xk being the last relevant one."""
        if self.inputs.dimension != "inf":
            return self.inputs
        return self.inputs.of_size(1 + max(self.relevant or (), default=0))

    def load(self, folder: Path, seed: int) -> Dataset:
        """The sample, split as other sources are, or the points that measure the risk."""
        return replace(super().load(folder, seed), fresh=self.samples is None)

    def rows(self, folder: Path, seed: int) -> Points:
        """A sample of the law in double precision, its key made from the seed alone."""
        with in_precision("float64"):
            drawn = key(Stream.EVALUATION if self.samples is None else Stream.SAMPLE, seed)
            inputs, targets = map(np.asarray, self.draw(drawn, self.samples or EVALUATION, float))
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
        return self.points(jax.random.normal(key, (count, self.law.coordinates), dtype))

    def points(self, z: Normals) -> tuple[Float[Array, "points inputs"], Float[Array, " points"]]:
        """Points (x, y) from standard normals, one row each."""
        x = self.law.transform(z)
        own = self.law.targets(z)
        if own is not None:
            return x, own
        assert self.target is not None
        return x, self.target.values(x)
