"""Memory budgets: the same numbers in pieces, less memory, and an error that names what works."""

import importlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from conftest import small_problem, table
from widelimit import ProblemError, solve
from widelimit.ensemble.layered.placing import limit_ensemble
from widelimit.ensemble.neurons import Ensemble
from widelimit.ensemble.system import System
from widelimit.limit.solve import check_memory
from widelimit.motion.memory import Memory
from widelimit.nodes.rules import rules_for
from widelimit.problem.network.layered import LayerCosts as Costs

ONE_LAYER = Costs(entries=(64, 10), fields=(1,), products=(64, 10), spaces=(0,))


def _pieces(depth: int, points: int) -> tuple[System, Ensemble]:
    problem = small_problem(
        depth,
        data=table(points=23),
        network={
            "activations": ["tanh"] * depth,
            "biases": True,
            "output_bias": True,
        },
    )
    system = System.of(problem, jnp.float64)
    marks = problem.network.marks(2, 1)
    rng = np.random.default_rng(0)
    nodes = [rules_for(mark, np.eye(2))[0].place(16, rng) for mark in marks]
    return system.in_pieces(points), limit_ensemble(problem.layers, nodes, 2, 1, jnp.float64)


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("points", [1, 5, 22])
def test_pieces_of_the_data_give_the_same_numbers(depth, points):
    with jax.enable_x64(True):
        found = []
        for size in (points, 23):
            system, ensemble = _pieces(depth, size)
            slope = system.equations.gradient(ensemble, system.batch)
            found.append(
                [system.equations.output(ensemble, system.inputs), *jax.tree.leaves(slope)]
            )
        for cut, whole in zip(*found, strict=True):
            np.testing.assert_allclose(cut, whole, rtol=1e-12, atol=1e-14)


def test_points_at_once_follow_the_budget():
    memory = Memory(10**9, ONE_LAYER, itemsize=8, points=1797)
    assert memory.points_at_once((256,), 12) == 1797
    assert memory.points_at_once((100_000,), 8) < 1797
    tight = Memory(memory.needed((100_000,), 8, 3), ONE_LAYER, 8, 1797)
    assert tight.points_at_once((100_000,), 8) == 3
    assert tight.fits((100_000,), 8)
    assert not tight.fits((200_000,), 8)


def test_too_little_memory_names_the_smallest_that_works():
    problem = small_problem(limit={"memory": "1 kB"})
    with pytest.raises(ProblemError, match=r"limit.memory: found 0 MB; .* nodes need at least"):
        check_memory(problem)
    with pytest.raises(ProblemError) as told:
        solve(problem, progress=False)
    smallest = str(told.value).split("at least ")[1].split(" MB")[0]
    assert solve(problem.with_changes(limit={"memory": f"{smallest} MB"}), progress=False).met


def test_functionals_count():
    """37 × 8 bytes for each of 400 × 400 entries at 101 times are 4.8 GB, and 1 GB is allowed."""
    inputs = np.linspace(-1, 1, 400).tolist()
    many = {"times": 101, "inputs": inputs, "functionals": ["kernel"]}
    problem = small_problem(
        data={"source": "table", "inputs": [-1.0, 1.0], "targets": [0.5, -0.5]},
        observe=many,
        limit={"memory": "1 GB"},
    )
    with pytest.raises(ProblemError, match=r"47\d\d MB|48\d\d MB|49\d\d MB") as told:
        check_memory(problem)
    assert "observe.functionals at 101 times: observe fewer times or inputs" in str(told.value)
    check_memory(problem.with_changes(observe=many | {"times": 2}))
    check_memory(problem.with_changes(observe=many | {"functionals": ["moments"]}))


@pytest.mark.slow
@pytest.mark.parametrize(("case", "gigabytes"), [("functional", 4.0), ("units", 1.2)])
def test_what_is_large_stays_inside(case, gigabytes, monkeypatch):
    """The peak of resident memory, of a functional of 10^6 entries and of 2^16 units."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    row = importlib.import_module("memory_is_bounded").measured(case)
    assert float(row.reached.removesuffix(" GB")) <= gigabytes


def test_memory_is_not_part_of_what_was_solved():
    problem = small_problem()
    other = problem.with_changes(limit={"memory": "3 GB"})
    assert other.limit.memory == 3 * 10**9
    assert problem.digest("limit") == other.digest("limit")
    assert problem.digest("limit") != problem.with_changes(limit={"tolerance": 1e-3}).digest(
        "limit"
    )


@pytest.mark.parametrize("wrong", ["much", -1, 0, True, "4 parsec"])
def test_wrong_amounts_of_memory(wrong):
    with pytest.raises(ProblemError, match=r"limit.memory: found .*; must be an amount of memory"):
        small_problem(limit={"memory": wrong})
