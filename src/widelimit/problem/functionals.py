"""Observables by name: functionals of the law of neurons and of the data law, followed over time.

Limit and networks compute them alike, at the observed times. A functional is a name or a table in
`observe.functionals`; one of one's own is a class with `values`, or (in Python) a function of what
it may look at, a `Sight`.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WrapValidator

from widelimit.problem.data import formula
from widelimit.problem.network.byname import by_name
from widelimit.problem.network.laws import Count

MOST_OUTPUTS = 1000
"""A tangent kernel of more outputs is refused: it has their number squared of entries."""

Dims = tuple[str, ...]
Values = dict[str, tuple[Dims, Array]]
"""Arrays with the names of their dimensions, by the names of the variables they become."""


class Sight(NamedTuple):
    """What a functional may look at: an ensemble at one time, and the data law.

    `inputs (point, d)`, `targets (point, channel)`, `weights (point,)`: the data law; `outputs`: f
    there. `shares[l]`: the weights of the neurons of a layer, summing to 1. `parameters` and
    `rates`: parameters and learning rates, `masses`: their weights in averages, in one layout
    (`input`, `hidden`, `readout`, `biases`, `output_bias`). `gradient()`: the mean-field gradient;
    `kernel()`: K_t at the observed inputs. Where a limit has folded coordinates away (`symmetry`),
    `inputs` has those that it keeps, and `parameters.input` the weights for these and the length of
    the others.
    """

    inputs: Float[Array, "points inputs"]
    targets: Float[Array, "points channels"]
    weights: Float[Array, " points"]
    outputs: Float[Array, "points channels"]
    shares: Sequence[Array]
    parameters: Any
    rates: Any
    masses: Any
    gradient: Callable[[], Any]
    kernel: Callable[[], Array]


class Asked(NamedTuple):
    """What functionals are asked of: so many inputs, hidden layers and observed outputs.

    `kept` are the coordinates of x, from 0, that the limit knows one by one where it has folded
    the others away (`symmetry`); None where it knows them all.
    """

    inputs: int
    depth: int
    outputs: int
    kept: tuple[int, ...] | None = None
    layered: bool = True
    """Whether neurons stand in layers, with input weights and readouts of their own."""

    def folded_away(self, coordinates: Iterable[int]) -> str | None:
        """What is wrong with the first of these coordinates that the limit does not know."""
        lost = [k for k in coordinates if self.kept is not None and k not in self.kept]
        if not lost:
            return None
        return (
            f"x{lost[0] + 1} is not among the inputs that the target depends on, which are all "
            "that the limit keeps; use those"
        )


class Functional(BaseModel):
    """What functionals are made from. They are constants of compiled code."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    over_population: ClassVar[bool] = False
    """Whether it is taken over the whole population in place of the data, see `system`."""

    of_layers: ClassVar[bool] = False
    """Whether it looks at the weights of layers."""

    @property
    def names(self) -> Dims:
        """The variables that `values` returns; names of functionals must differ."""
        return (str(getattr(self, "functional", type(self).__name__)),)

    def mismatches(self, asked: Asked) -> list[str]:
        """What does not fit the problem, each with its place inside the functional."""
        return []

    def values(self, sight: Sight) -> Values:
        """The variables, each with its dimensions."""
        raise NotImplementedError


class Moments(Functional):
    """Means and mean squares over neurons of what belongs to a neuron: E θ_i, E θ_i²."""

    of_layers: ClassVar[bool] = True

    functional: Literal["moments"] = "moments"

    @property
    def names(self) -> Dims:
        """Means and squares of input weights and readouts."""
        return "input_mean", "input_square", "readout_mean", "readout_square"

    def mismatches(self, asked: Asked) -> list[str]:
        """Input weights that are folded away."""
        lost = asked.folded_away(range(asked.inputs))
        return [f"functional: 'moments' is of all input weights, and {lost} ('overlaps')"] * (
            lost is not None
        )

    def values(self, sight: Sight) -> Values:
        """By entry of a neuron's weights."""
        theta, p = sight.parameters, sight.shares
        own = {
            "input": (("entry",), p[0], theta.input),
            "readout": (("readout_entry",), p[-1], theta.readout),
        }
        found: Values = {}
        for name, (dims, share, values) in own.items():
            found[f"{name}_mean"] = (dims, share @ values)
            found[f"{name}_square"] = (dims, share @ values**2)
        return found


class Overlaps(Functional):
    """E w_i w_j of the first `coordinates` input weights (none: all); at depth 1 also E w_i a."""

    of_layers: ClassVar[bool] = True

    functional: Literal["overlaps"] = "overlaps"
    coordinates: Count | None = None

    @property
    def names(self) -> Dims:
        """The order parameters Q and R of Saad & Solla (1995), where a teacher has unit weights."""
        return "overlap", "projection"

    def mismatches(self, asked: Asked) -> list[str]:
        """Coordinates beyond the last, or that are folded away."""
        if self.coordinates is not None and self.coordinates > asked.inputs:
            return [f"coordinates: found {self.coordinates}; there are {asked.inputs} inputs"]
        lost = asked.folded_away(range(self.coordinates or asked.inputs))
        return [f"coordinates: found {self.coordinates or 'all'}; {lost}"] * (lost is not None)

    def values(self, sight: Sight) -> Values:
        """Averages over first-layer neurons."""
        w, p = sight.parameters.input[:, : self.coordinates], sight.shares[0]
        found: Values = {"overlap": (("coordinate", "other_coordinate"), (w.T * p) @ w)}
        if len(sight.shares) == 1:
            readout = sight.parameters.readout
            found["projection"] = (("coordinate", "readout_entry"), (w.T * p) @ readout)
        return found


class Coefficient(Functional):
    """E_π[f(x) g(x)] for a formula g: Fourier and Hermite coefficients of the output."""

    functional: Literal["coefficient"] = "coefficient"
    formula: str
    name: Annotated[str, Field(pattern=r"^\w+$")] = "coefficient"

    @property
    def names(self) -> Dims:
        """Its own."""
        return (self.name,)

    def mismatches(self, asked: Asked) -> list[str]:
        """A formula that cannot be read, or in inputs that are folded away."""
        try:
            formula.check(self.formula, asked.inputs)
        except ValueError as error:
            return [f"formula: {error}"]
        lost = asked.folded_away(formula.inputs(self.formula))
        return [f"formula: {lost}"] * (lost is not None)

    def values(self, sight: Sight) -> Values:
        """One a channel."""
        g = formula.evaluate(self.formula, sight.inputs)
        return {self.name: (("channel",), (sight.weights * g) @ sight.outputs)}


class Kernel(Functional):
    """The tangent kernel K_t at the observed inputs, learning rates inside (`tangent_kernel`)."""

    functional: Literal["kernel"] = "kernel"

    def mismatches(self, asked: Asked) -> list[str]:
        """More outputs than a kernel may have."""
        return [f"functional: {too_many}"] if (too_many := kernel_of(asked.outputs)) else []

    def values(self, sight: Sight) -> Values:
        """K_t(x, x') for all pairs of outputs."""
        dims = "input", "channel", "other_input", "other_channel"
        return {"kernel": (dims, sight.kernel())}


def kernel_of(outputs: int) -> str | None:
    """Why a tangent kernel of so many outputs is refused, if it is."""
    if outputs <= MOST_OUTPUTS:
        return None
    return (
        f"a tangent kernel of {outputs} outputs has {outputs}² entries at each time; observe "
        f"inputs with at most {MOST_OUTPUTS} outputs"
    )


class Dissipation(Functional):
    """ξ E|G|² by kind of parameter: under descent without decay dR/dt = −(their sum)."""

    functional: Literal["dissipation"] = "dissipation"

    def values(self, sight: Sight) -> Values:
        """By layer, and the readout; of units by kind, and both ends: see `Parameters.parts`."""
        trees = sight.gradient(), sight.rates, sight.masses
        lost = [jnp.sum(r * m * g**2) for g, r, m in zip(*map(jax.tree.leaves, trees), strict=True)]
        parts = sight.parameters.parts().values()
        found = [jnp.asarray(sum(lost[place] for place in part)) for part in parts]
        return {"dissipation": (("weights_of",), jnp.stack(found))}


class Law(Functional):
    """Shares of the entries of `of` in the intervals between `edges`; what is outside is left."""

    of_layers: ClassVar[bool] = True

    functional: Literal["law"] = "law"
    of: Literal["input", "readout"]
    edges: Annotated[tuple[float, ...], Field(min_length=2)]

    @property
    def names(self) -> Dims:
        """By what it is the law of."""
        return (f"law_{self.of}",)

    def mismatches(self, asked: Asked) -> list[str]:
        """Edges that do not rise, and input weights that are folded away."""
        if not all(a < b for a, b in pairwise(self.edges)):
            return ["edges: must be an increasing list of numbers"]
        lost = asked.folded_away(range(asked.inputs)) if self.of == "input" else None
        return [f"of: the law is that of all input weights, and {lost}"] * (lost is not None)

    def values(self, sight: Sight) -> Values:
        """All entries of a neuron's weights count alike."""
        values = getattr(sight.parameters, self.of)
        share = sight.shares[0 if self.of == "input" else -1]
        edges = jnp.asarray(self.edges, values.dtype)
        inside = (values[..., None] >= edges[:-1]) & (values[..., None] < edges[1:])
        found = jnp.einsum("n,neb->b", share, inside.astype(values.dtype)) / values.shape[1]
        return {self.names[0]: ((f"interval_{self.of}",), found)}


class PopulationRisk(Functional):
    """The risk over the whole population that the data are a sample of: `population_risk`."""

    over_population: ClassVar[bool] = True

    functional: Literal["population risk"] = "population risk"

    @property
    def names(self) -> Dims:
        """A risk like that of the training points, on quadrature nodes of the population."""
        return ("population_risk",)

    def values(self, sight: Sight) -> Values:
        """It comes from outputs at those nodes, as other risks do."""
        return {}


class Own(Functional):
    """A function of one's own (in Python only): of a `Sight`, one array or number."""

    functional: Literal["own"] = "own"
    function: Callable[[Sight], Array]

    @property
    def names(self) -> Dims:
        """The function's."""
        return (getattr(self.function, "__name__", "own").strip("<>"),)

    def values(self, sight: Sight) -> Values:
        """Dimensions have the function's name and a number."""
        (name,) = self.names
        found = jnp.asarray(self.function(sight))
        return {name: (tuple(f"{name}_{axis}" for axis in range(1, found.ndim + 1)), found)}


Known = Annotated[
    Moments | Overlaps | Coefficient | Kernel | Dissipation | Law | PopulationRisk,
    Field(discriminator="functional"),
]
"""Functionals that a problem file may ask for, told apart by their key `functional`."""


def _own(value: Any, known: Callable[[Any], Any]) -> Any:
    """A function is one of the user's own; the rest is read as it is written."""
    if callable(value) and not isinstance(value, Functional):
        return Own.model_validate({"function": value})
    return known(value)


AnyFunctional = Annotated[Known, by_name("functional", Functional), WrapValidator(_own)]


def _several(value: Any) -> Any:
    if not isinstance(value, list | tuple):
        raise ValueError(f"found {value!r}; must be a list, such as ['moments']")
    return value


Functionals = Annotated[tuple[AnyFunctional, ...], BeforeValidator(_several)]


TAKEN = frozenset(
    [
        "accuracy",
        "band",
        "bias",
        "channel",
        "clt_until",
        "coordinate",
        "departure",
        "describes",
        "describes_until",
        "distance",
        "entropy",
        "entry",
        "free_energy",
        "gain",
        "growth_rate",
        "hidden_variance",
        "holdout_risk",
        "input",
        "interval_input",
        "interval_readout",
        "layer",
        "left",
        "other_channel",
        "other_coordinate",
        "other_input",
        "output",
        "pair",
        "part",
        "quadrature_error",
        "readout_entry",
        "ridge",
        "risk",
        "seed",
        "time",
        "validity_time",
        "weights_of",
        "width",
        "widths",
    ]
)
"""Variables and dimensions that results have anyway; results refuse what is missing here."""


def misnamed(functionals: Sequence[Functional]) -> list[str]:
    """Variables that functionals would write over each other, or over a result's own."""
    names = [name for functional in functionals for name in functional.names]
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    found = [f"{name!r} is there more than once; give each its own name" for name in twice]
    taken = [
        n for n in dict.fromkeys(names) if n in TAKEN or n.endswith(("_error", "_low", "_high"))
    ]
    return found + [
        f"{name!r} is what results call something of their own (so are names that end in _error, "
        "_low and _high); give it another name"
        for name in taken
    ]


def table_of(functional: Functional) -> Any:
    """A name where nothing else was said, or a table; a function or class of one's own as it is."""
    if isinstance(functional, Own):
        return functional.function
    name = getattr(functional, "functional", functional)
    return name if functional == type(functional).model_construct() else functional.model_dump()
