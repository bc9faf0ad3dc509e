"""Functions and classes of one's own in the place of names; the page that tells of them is run."""

import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from conftest import small_problem
from widelimit import ProblemError, solve
from widelimit.problem.data.sources import Points, Source
from widelimit.problem.network.laws import Normal, Own

PAGE = Path(__file__).parents[2] / "docs" / "extend.md"


def test_the_page_runs_and_every_extension_is_short():
    """Each block does what it says (networks are a distance apart), in under 20 lines."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 8
    assert max(len(block.splitlines()) for block in blocks[1:]) < 20
    found, space = [], {}
    exec(blocks[0], space)
    plain = space["distance"]
    space["distance"] = lambda **sections: found.append(plain(**sections))
    for block in blocks[1:]:
        exec(block, space)
    assert len(found) == 9
    assert all(0 < size < 1 for size in found)


def test_functions_do_what_names_do():
    """Schedule, law and loss given as functions: the limits by name, up to the error of steps."""
    laws = {"readout": {"law": "normal", "mean": 1.0, "std": 0.5}}
    own = {"readout": lambda z: 1 + 0.5 * z}
    rate = {"schedule": "power", "value": 2.0, "exponent": 0.5}
    named = small_problem(
        network={"activations": ["tanh"], "initial": laws},
        training={
            "horizon": 1.0,
            "loss": {"loss": "huber", "width": 100.0},
            "learning_rates": {"input": rate},
        },
    )
    given = small_problem(
        network={"activations": ["tanh"], "initial": own},
        training={
            "horizon": 1.0,
            "loss": lambda f, y: 0.5 * jnp.sum((f - y) ** 2),
            "learning_rates": {"input": lambda t: 2 / jnp.sqrt(1 + t)},
        },
    )
    first, second = (solve(problem, progress=False).dataset for problem in (named, given))
    told = first.time_error + second.time_error
    assert (np.abs(first.output - second.output) <= told).all()
    assert told.max() < 1e-2 * np.abs(first.output).max()


def test_moments_of_a_law_of_ones_own():
    """Log-normal numbers: mean √e, variance e² − e; the mean of 1/z does not exist."""
    law = Own(function=jnp.exp)
    assert law.expectation() == pytest.approx(np.exp(0.5), rel=1e-10)
    assert law.deviation() == pytest.approx(np.sqrt(np.exp(2) - np.e), rel=1e-10)
    assert Own(function=lambda z: 2 - z).deviation() == pytest.approx(Normal().deviation())
    with pytest.raises(ProblemError, match=r"network.initial.readout.*cannot be computed"):
        small_problem(network={"activations": ["tanh"], "initial": {"readout": lambda z: 1 / z}})


class Line(Source):
    """Points of a line."""

    def rows(self, folder, seed):
        """All of them."""
        x = np.linspace(-1, 1, 10)[:, None]
        return Points(x, x**2, None, ("y",))


def test_places_of_functions_are_named():
    """What a file cannot hold is told with its place; the problem can still be changed."""
    problem = small_problem(
        data=Line(holdout=0.2),
        training={
            "horizon": 1.0,
            "loss": lambda f, y: jnp.sum(f - y) ** 2,
            "learning_rates": {"readout": lambda t: 1.0},
        },
        network={"activations": [jnp.tanh], "initial": {"input": lambda z: z}},
    )
    with pytest.raises(ProblemError) as told:
        problem.to_toml()
    places = [mistake.partition(":")[0] for mistake in told.value.mistakes]
    assert sorted(places) == [
        "data",
        "network.activations[0]",
        "network.initial.input.function",
        "training.learning_rates.readout.function",
        "training.loss.function",
    ]
    again = problem.with_changes(seed=1)
    assert len(again.dataset.inputs) == 8
    assert again.data == problem.data
