"""What an architecture makes of a network's description: its equations and its ensembles.

All else asks this, and does not know which architecture it is.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from jax.typing import DTypeLike
from jaxtyping import PRNGKeyArray

from widelimit.ensemble.equations import Equations
from widelimit.ensemble.layered.model import LayeredModel
from widelimit.ensemble.neurons import Ensemble, Rates
from widelimit.ensemble.residual.model import ResidualModel
from widelimit.nodes.points import Nodes, Numbers
from widelimit.problem.network.residual import ResidualNetwork
from widelimit.problem.problem import Problem
from widelimit.problem.training.training import PerKind

Dims = tuple[int, int]
"""How many inputs and outputs there are."""


@runtime_checkable
class Model(Protocol):
    """An architecture with the laws of one problem."""

    @property
    def deep(self) -> bool:
        """Whether depth is taken to its limit, so that its nodes make an error."""
        ...

    def equations(self, loss: Callable) -> Equations:
        """What its neurons obey."""
        ...

    def rates(self, chosen: PerKind, dtype: DTypeLike) -> Rates:
        """A number, or a schedule of them, for every array of parameters."""
        ...

    def limit(
        self, nodes: Sequence[Nodes], dims: Dims, dtype: DTypeLike, depths: int = 1
    ) -> Ensemble:
        """The limit at time zero on quadrature nodes, one `Nodes` per index space.

        A limit in depth has `depths` times its fewest nodes there.
        """
        ...

    def drawn(
        self,
        key: PRNGKeyArray,
        widths: tuple[int, ...],
        dims: Dims,
        dtype: DTypeLike,
        given: Sequence[Numbers | None] | None = None,
        apart: bool = False,
    ) -> tuple[Ensemble, tuple[Numbers, ...]]:
        """A network of these widths drawn from the initial laws, and its neurons' labels."""
        ...

    def halves(
        self, key: PRNGKeyArray, widths: tuple[int, ...], dims: Dims, dtype: DTypeLike
    ) -> tuple[tuple[Ensemble, Ensemble], Ensemble]:
        """Two independent networks of these widths, and the one twice as wide that is both."""
        ...

    def held(
        self, widths: tuple[int, ...], dims: Dims, apart: bool = False, parts: int = 1
    ) -> Sequence[int]:
        """How many weighted neurons stand for each index space of a union of so many networks."""
        ...


def model_of(problem: Problem) -> Model:
    """The architecture of a problem's network."""
    network = problem.network
    if isinstance(network, ResidualNetwork):
        return ResidualModel(network, problem.seed)
    return LayeredModel(network)
