"""Devices: the neurons of a large ensemble are cut into equal pieces, one for each device.

Every second layer is cut, so that a matrix between two layers is cut along one of its axes. The
equations are averages over neurons: each device averages over its own, and XLA adds up what comes
of it (one all-reduce of the outputs a right-hand side; from two hidden layers on also of values of
layers that are not cut). Where the number of devices does not divide that of neurons, weightless
copies of the last neuron fill up: they change nothing, are not measured when steps are chosen, and
nobody sees them.

With several processes (`jax.distributed`) the devices are those of all of them. All then take
the same decisions: what clocks and machines tell is the first one's.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from widelimit.ensemble.neurons import Ensemble, Parameters
from widelimit.motion.moments import Moment, Way
from widelimit.nodes.points import Numbers
from widelimit.problem.network.architecture import Costs

WORTH = 2**20
"""Ensembles of fewer parameters stay on one device, where their replicates go side by side."""

LEAST = 64
"""A layer is cut if each device gets so many of its neurons: what fills up is a small part."""

POINTS = 64
"""Which layers are cut is chosen for so many data points at once."""

NODES = "nodes"
"""The name of the axis along which devices stand."""


def agreed(value: float) -> float:
    """What the first process holds it to be."""
    if jax.process_count() == 1:
        return value
    return float(multihost_utils.broadcast_one_to_all(np.asarray(value, float)))


@dataclass(frozen=True)
class Devices:
    """The devices over which ensembles are spread; none are as good as one."""

    held: tuple[Any, ...] = ()

    @classmethod
    def here(cls) -> "Devices":
        """Those of all processes."""
        return cls(tuple(jax.devices()))

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.held)

    @property
    def ours(self) -> bool:
        """Whether this is the only process."""
        return jax.process_count() == 1

    @property
    def in_one_memory(self) -> int:
        """How many have the same memory: cores of a machine have, accelerators not."""
        local = [d for d in self.held if d.process_index == jax.process_index()]
        return len(local) if local and local[0].platform == "cpu" else 1

    def spread(self, costs: Costs, sizes: Sequence[int]) -> "Spread":
        """How neurons of these sizes lie on them: so that one holds as little as may be."""
        if self.count < 2 or costs.held(sizes) < WORTH:
            return Spread((), (False,) * len(sizes))
        least = self.count * max(LEAST, self.count)

        def every_second(first: int) -> Spread:
            chosen = set(costs.chain[first::2])
            cut = tuple(s in chosen and n >= least for s, n in enumerate(sizes))
            return Spread(self.held if any(cut) else (), cut)

        def on_one(spread: Spread) -> int:
            each = spread.each(sizes)
            return costs.held(each) + POINTS * costs.values(each)

        return min(map(every_second, range(2)), key=on_one)


ONE = Devices()
"""As good as one device: nothing is spread."""


class Spread(NamedTuple):
    """Ensembles over devices (none: as they are), the neurons of some spaces being `cut`."""

    held: tuple[Any, ...]
    cut: tuple[bool, ...]

    @property
    def pieces(self) -> int:
        """How many pieces a cut space is in."""
        return len(self.held) or 1

    def each(self, sizes: Sequence[int]) -> tuple[int, ...]:
        """How many neurons of each space a device has."""
        return tuple(
            -(-n // self.pieces) if cut else n for n, cut in zip(sizes, self.cut, strict=True)
        )

    def fills(self, sizes: Sequence[int]) -> bool:
        """Whether weightless copies fill up."""
        return any(n % self.pieces for n, cut in zip(sizes, self.cut, strict=True) if cut)

    def over(self, ensemble: Ensemble) -> Ensemble:
        """The ensemble in pieces, each on its device, filled up."""
        if not self.held:
            return ensemble
        mesh, spaces = self._mesh(), range(len(self.cut))
        weights = [
            self._put(mesh, w, (s,), "constant")
            for w, s in zip(ensemble.weights, spaces, strict=True)
        ]
        layers = ensemble.by_layer(spaces)
        theta, memory = ensemble.state

        def placed(own: Parameters) -> Parameters:
            return own.each(
                lambda array, axes: self._put(mesh, array, [layers[axis] for axis in axes])
            )

        sizes = tuple(len(w) for w in weights)
        filled = ensemble.sizes if sizes != ensemble.sizes else ensemble.counted
        return Ensemble(
            tuple(weights),
            placed(theta),
            tuple(map(placed, memory)),
            ensemble.spaces,
            filled,
            ensemble.depth,
        )

    def everywhere(self, tree: Any) -> Any:
        """The arrays of a tree, whole on every device."""
        if not self.held:
            return tree
        whole = NamedSharding(self._mesh(), PartitionSpec())
        return jax.tree.map(
            lambda leaf: jax.device_put(leaf, whole) if isinstance(leaf, jax.Array) else leaf, tree
        )

    def along(self, way: Way) -> Way:
        """A way whose moments are in pieces, wherever it is taken up."""
        return SpreadWay(way, self) if self.held else way

    def gathered(self, tree: Any) -> Any:
        """What was seen: arrays that this process does not hold the whole of are fetched."""

        def fetched(leaf: Any) -> Any:
            if not isinstance(leaf, jax.Array) or leaf.is_fully_addressable:
                return leaf
            return multihost_utils.process_allgather(leaf, tiled=True)

        return jax.tree.map(fetched, tree)

    def _mesh(self) -> Mesh:
        return Mesh(np.asarray(self.held), (NODES,), axis_types=(AxisType.Auto,))

    def _put(
        self, mesh: Mesh, array: Numbers, spaces: Sequence[int], filler: Any = "edge"
    ) -> jax.Array:
        """An array whose first axes are neurons of these spaces, cut along one of them.

        Each device is given its own piece: no device ever holds the whole.
        """
        cut = [self.cut[space] for space in spaces]
        axis = cut.index(True) if any(cut) else 0
        spec = PartitionSpec(*[None] * axis, NODES) if any(cut) else PartitionSpec()
        pieces = NamedSharding(mesh, spec)
        full = [-(-n // self.pieces) * self.pieces for n in array.shape[: len(cut)]]
        lengths = [a if c else n for a, n, c in zip(full, array.shape, cut, strict=False)]
        shape = (*lengths, *array.shape[len(cut) :])
        if isinstance(array, jax.Array) and array.shape == shape:
            return jax.device_put(array, pieces)
        host = np.asarray(array)

        def piece(index: tuple[slice, ...] | None) -> np.ndarray:
            assert index is not None
            own = host[index]
            wanted = [len(range(*i.indices(n))) for i, n in zip(index, shape, strict=True)]
            missing = [(0, n - m) for n, m in zip(wanted, own.shape, strict=True)]
            return np.pad(own, missing, mode=filler) if wanted != list(own.shape) else own

        return jax.make_array_from_callback(shape, pieces, piece)


@dataclass(frozen=True)
class SpreadWay:
    """A way of ensembles in pieces: moments that were kept are cut again."""

    way: Way
    spread: Spread

    def first(self, start: Ensemble) -> Moment:
        """The moment before anything has moved."""
        return self.way.first(start)

    def onward(self, moment: Moment) -> Iterator[Moment]:
        """The moments after this one."""
        return self.way.onward(moment._replace(ensemble=self.spread.over(moment.ensemble)))
