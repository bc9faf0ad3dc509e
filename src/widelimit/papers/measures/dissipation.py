"""Dissipation: under gradient flow the risk falls by what the parameters' motion says.

dR/dt = −Σ_l ξ_l E|G_l|²,   ∂_t θ_l = −ξ_l G_l,   hence dR/dt = −Σ_l E|∂_t θ_l|²/ξ_l
"""

import numpy as np
import xarray as xr
from scipy.integrate import simpson
from scipy.interpolate import CubicSpline

from widelimit.papers.claims import Measured
from widelimit.results.trajectory import Trajectory


def lost_over_dissipated(limit: Trajectory, rates: dict[str, float]) -> Measured:
    """R(0) − R(T) over ∫ Σ_l E|∂_t θ_l|²/ξ_l dt, for constant rates ξ_l by name of parameter.

    From the stored parameters alone: splines in time give speeds, Simpson's rule the integral;
    the error is the change from half as many times. Parameters with rate 0 are left out.
    """
    states, times = limit.states["limit"].to_dataset(), limit.problem.times
    risk = limit.dataset.risk.values
    lost = risk[0] - risk[-1]
    fine, coarse = (lost / _dissipated(states, times, rates, k) for k in (1, 2))
    return Measured(float(fine), abs(float(fine - coarse)) + 1e-8)


def _dissipated(
    states: xr.Dataset, times: np.ndarray, rates: dict[str, float], every: int
) -> float:
    power = np.zeros(len(times[::every]))
    for name, rate in rates.items():
        if rate > 0:
            path = states[name].isel(time=slice(None, None, every))
            speed = CubicSpline(times[::every], path.values)(times[::every], 1)
            power += _mean_over_neurons(path.copy(data=speed**2), states).values / rate
    return float(simpson(power, x=times[::every]))


def _mean_over_neurons(squares: xr.DataArray, states: xr.Dataset) -> xr.DataArray:
    """E over the neurons of the layers a parameter belongs to, summed over its components."""
    for dimension in map(str, squares.dims):
        kind, _, layer = dimension.partition("_")
        if kind == "neuron":
            squares = (squares * states[f"weight_{layer}"]).sum(dimension)
    return squares.sum([d for d in squares.dims if d != "time"])
