"""What several papers' claims look at: neurons of networks, and of limits.

Networks are groups of the states of a `Trajectory`, one entry along `seed` for each network.
"""

import numpy as np
import xarray as xr

from widelimit.papers.claims import Measured
from widelimit.results.trajectory import Trajectory

THRESHOLDS = 33
"""Where cumulative histograms are compared."""


def neurons(networks: Trajectory, width: int) -> xr.Dataset:
    """The neurons of networks whose layers all have this width."""
    depth = networks.problem.layers.depth
    return networks.states["width_" + "_".join([str(width)] * depth)].to_dataset()


def squared_distance(outputs: xr.DataArray, limit: Trajectory) -> np.ndarray:
    """Mean over inputs of (f_network − f)² at the last time, one for each network."""
    return mean_square((outputs - limit.dataset.output).isel(time=-1))


def mean_square(values: xr.DataArray) -> np.ndarray:
    """The mean square over everything but the networks."""
    return (values.astype(float) ** 2).mean([d for d in values.dims if d != "seed"]).values


def moved(network: xr.Dataset, layer: int) -> xr.DataArray:
    """W_layer(T) − W_layer(0)."""
    weights = network[f"hidden_{layer}"].astype(float)
    return weights.isel(time=-1) - weights.isel(time=0)


def spread_of_moves(network: xr.Dataset, layer: int) -> np.ndarray:
    """Variance over a layer's weights of how far they moved."""
    return moved(network, layer).var([f"neuron_{layer - 1}", f"neuron_{layer}"], ddof=1).values


def spread_of_moves_over(network: xr.Dataset, layer: int, neurons_of: int) -> np.ndarray:
    """Variance of how far W_layer moved over the neurons at one of its ends, mean over the other's.

    `neurons_of` is the layer of that end: `layer` itself or the one below.
    """
    spread = moved(network, layer).var(f"neuron_{neurons_of}", ddof=1)
    return spread.mean([d for d in spread.dims if d != "seed"]).values


def pre_activations(network: xr.Dataset, inputs: np.ndarray, layer: int) -> np.ndarray:
    """z_layer, `(…, point, neuron)`, of neurons `(…, neuron_l)` with tanh: networks or times."""
    z = inputs @ np.swapaxes(network["input"].values.astype(float), -1, -2)
    for k in range(1, layer + 1):
        if k > 1:
            p = network[f"weight_{k - 1}"].values.astype(float)
            z = np.tanh(z) @ (p[..., None] * network[f"hidden_{k}"].values.astype(float))
        if f"bias_{k}" in network:
            z = z + network[f"bias_{k}"].values[..., None, :]
    return z


def spread_of_units(network: xr.Dataset, inputs: np.ndarray, layer: int) -> np.ndarray:
    """Variance over a layer's neurons of their pre-activation at T, mean over inputs."""
    return pre_activations(network.isel(time=-1), inputs, layer).var(axis=2, ddof=1).mean(axis=1)


def unexplained(z: np.ndarray, labels: np.ndarray, degree: int) -> np.ndarray:
    """What is left of the variance over neurons of `z (seed, point, neuron)`, mean over points.

    After regression on Legendre polynomials of the neurons' own `labels (seed, neuron)` in
    [−1, 1]; free of bias by the degrees of freedom that the regression takes.
    """
    basis, _ = np.linalg.qr(np.polynomial.legendre.legvander(labels, degree))
    left = z - np.einsum("sxn,snk,smk->sxm", z, basis, basis, optimize=True)
    return (left**2).sum(axis=2).mean(axis=1) / (z.shape[2] - degree - 1)


def least_diversity(z: np.ndarray) -> np.ndarray:
    """The smallest eigenvalue of the covariance over neurons of (z(x))_x, one for each network."""
    centred = z - z.mean(axis=2, keepdims=True)
    covariance = np.einsum("sxn,syn->sxy", centred, centred) / (z.shape[2] - 1)
    return np.linalg.eigvalsh(covariance)[:, 0]


def histogram_distance(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Mean square over thresholds of F_1 − F_2, the shares of two networks' values below them.

    `values (seed, neuron, …)`; one sample for each of S networks, 2 (F − F̄)² S/(S − 1) with F̄ the
    mean over networks: this has the mean of (F_1 − F_2)² over pairs.
    """
    count = len(values)
    total = np.zeros(count)
    for threshold in np.linspace(low, high, THRESHOLDS):
        below = (values <= threshold).mean(axis=1).reshape(count, -1)
        total += ((below - below.mean(axis=0)) ** 2).mean(axis=1)
    return 2 * count / (count - 1) / THRESHOLDS * total


def shift_in_units(base: xr.Dataset, other: xr.Dataset, unit: xr.Dataset) -> Measured:
    """How far a limit's outputs move from `base` to `other`, in units of `base` to `unit`.

    The part of the one move along the other; error bars of limits are 95 % half-widths.
    """
    direction = (unit.output - base.output).values
    norm = (direction**2).sum()
    value = ((other.output - base.output).values * direction).sum() / norm
    bars = base.output_error.values + other.output_error.values
    return Measured(float(value), float((bars * np.abs(direction)).sum() / norm / 1.96))
