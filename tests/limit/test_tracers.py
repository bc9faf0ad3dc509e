"""The limit at the labels of sampled networks."""

import numpy as np
import pytest

from conftest import small_problem
from widelimit import solve, train

FEW = {"widths": [40], "seeds": 3, "states": 2, "method": "gd", "step": 0.02}


def test_labels_that_are_atoms_follow_the_atoms():
    """Networks of finitely many kinds have the atoms as their labels: tracers are the nodes."""
    initial = {
        "input": {"law": "atoms", "points": [[1.0, 0.3], [-0.4, 0.8]]},
        "hidden": {"law": "atoms", "points": [0.7]},
        "readout": {"law": "atoms", "points": [0.4, 2.0]},
        "bias": {"law": "atoms", "points": [0.1, -0.2]},
    }
    network = {"activations": ["tanh"] * 2, "biases": True, "initial": initial}
    problem = small_problem(2, network=network, networks=FEW)
    neurons = train(problem, progress=False).states.children["width_40_40"]
    states = solve(problem, progress=False, tracers=neurons).states
    limit, tracers = states["limit"].to_dataset(), states["tracers"].to_dataset()
    names = [str(n) for n in limit.data_vars if "time" in limit[n].dims]
    assert names == [n for n in tracers.data_vars if n in limit.data_vars and n in names]
    for name in names:
        for seed in range(2):
            found = tracers[name].isel(seed=seed).values
            np.testing.assert_allclose(found, limit[name].values, atol=1e-7)
        assert float(abs(tracers[f"{name}_error"]).max()) == 0


def test_tracers_start_where_the_networks_do_and_stay_near():
    """… and nearer to their own network than to another; rates are measured in papers/deep."""
    settings = {**FEW, "widths": [200], "states": 2}
    problem = small_problem(2, networks=settings, limit={"tolerance": 3e-3})
    neurons = train(problem, progress=False).states["width_200_200"].to_dataset()
    tracers = solve(problem, progress=False, tracers=neurons).states["tracers"].to_dataset()
    off, crossed = neurons - tracers, neurons - tracers.roll(seed=1)
    for name in ("input", "hidden_2", "readout"):
        assert float(abs(off[name].isel(time=0)).max()) < 1e-6
        assert float((off[name] ** 2).mean()) < 0.05 * float((crossed[name] ** 2).mean())
        assert 0 < float(tracers[f"{name}_error"].mean()) < 0.02


def test_tracers_do_not_change_the_limit():
    problem = small_problem(2, networks=FEW)
    neurons = train(problem, progress=False).states.children["width_40_40"]
    plain = solve(problem, progress=False)
    traced = solve(problem, progress=False, tracers=neurons)
    np.testing.assert_array_equal(plain.dataset.output, traced.dataset.output)
    assert list(plain.states.children) == ["limit"]


def test_tracers_that_do_not_fit_are_refused():
    problem = small_problem(2, networks=FEW)
    neurons = train(problem, progress=False).states["width_40_40"].to_dataset()
    with pytest.raises(ValueError, match=r"observe\.times must begin with 0"):
        solve(problem, progress=False, tracers=neurons.isel(time=slice(1, None)))
    with pytest.raises(ValueError, match="that hold label_1, label_2, label_3"):
        solve(small_problem(3), progress=False, tracers=neurons)
    other = small_problem(2, data={"source": "table", "inputs": [0.0, 1.0], "targets": [0.0, 1.0]})
    with pytest.raises(ValueError, match="label_1 of the tracers has 2 entries; the problem has 1"):
        solve(other, progress=False, tracers=neurons)
