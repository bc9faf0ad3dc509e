"""Histograms of weights over time, for the page's slider."""

from typing import Any

import numpy as np
import xarray as xr


def histograms(states: xr.DataTree, bins: int = 48) -> list[dict[str, Any]]:
    """Laws of the weights over time: the limit's nodes against one network's neurons.

    Hidden-to-hidden weights are shown by their displacement from the start: in the limit only
    their conditional mean exists, and both displacements have the same law.
    """
    names = list(states.children)
    networks = [name for name in names if name.startswith("width_")]
    if "limit" not in names:
        return []
    limit = states["limit"].to_dataset()
    widest = max(networks, key=lambda n: _neurons(states[n].to_dataset()), default=None)
    network = None if widest is None else states[widest].to_dataset()
    found = []
    moving = [str(n) for n in limit.data_vars if "time" in limit[n].dims]
    for name in (n for n in moving if n not in ENDS):
        pair = [_samples(d, str(name)) for d in (limit, network) if d is not None]
        values = np.concatenate([v[:, w > 1e-9].ravel() for v, w in pair])
        low, high = np.quantile(values, [0.002, 0.998])
        margin = 0.05 * (high - low) or 0.5
        edges = np.linspace(low - margin, high + margin, bins + 1)
        found.append(
            {
                "title": _title(name),
                "low": round(float(edges[0]), 5),
                "high": round(float(edges[-1]), 5),
                "limit": _densities(*pair[0], edges),
                "network": _densities(*pair[1], edges) if len(pair) > 1 else [],
            }
        )
    return found


ENDS = ("embedding", "position", "unembedding")
"""Parameters that are no neurons': they have no law."""


def _neurons(d: xr.Dataset) -> int:
    """How many neurons its first layer, or its first kind of units, has."""
    return next(size for dim, size in d.sizes.items() if str(dim).startswith("neuron_"))


def _title(name: str) -> str:
    """What a parameter is called: of units its own name with theirs."""
    first, _, rest = name.partition("_")
    return _TITLES[first].format(rest) if first in _TITLES else f"{rest} of {first} units"


_TITLES = {
    "input": "first-layer weights",
    "readout": "readout weights",
    "bias": "biases of layer {}",
    "output": "output bias",
    "hidden": "displacement of weights into layer {}",
}


def _samples(d: xr.Dataset, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Values `(time, sample)` of a parameter and the weight of each sample."""
    array = d[name].transpose("time", ...)
    if name.startswith("hidden"):
        array = array - array.isel(time=0)
    weights = xr.ones_like(array.isel(time=0, drop=True))
    for dim in weights.dims:
        key = f"weight_{str(dim).partition('_')[2]}"
        weights = weights * d[key] if key in d else weights / weights.sizes[dim]
    values = array.values.reshape(array.sizes["time"], -1)
    return values, weights.transpose(*array.dims[1:]).values.ravel()


def _densities(values: np.ndarray, weights: np.ndarray, edges: np.ndarray) -> list[list[float]]:
    width = edges[1] - edges[0]
    counts = [np.histogram(row, edges, weights=weights)[0] / width for row in values]
    return [[float(f"{c:.3g}") for c in row] for row in counts]
