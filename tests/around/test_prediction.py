"""How predictions choose nodes and scrambles: scatter told apart, the cheapest that will do."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from conftest import small_problem
from widelimit import predict_fluctuations
from widelimit.around.prediction import COUNTS, NEARLY, SAFETY, Level, _ahead, _begun, _next, _work
from widelimit.around.variances import factors, scatter
from widelimit.around.ways import Case
from widelimit.motion.engine import engine

FACTOR = xr.DataArray([[0.5, 0.25]], dims=("width", "source"), coords={"source": ["a", "b"]})


def runs(rng, replicates, combinations, nodes, signs):
    """Variances of mean 1 a time: so much scatter by nodes, alike for all, and by each itself."""
    shape = 2, 3, combinations
    return [
        xr.Dataset(
            {
                "compared": (
                    ("source", "time", "combination"),
                    1 + nodes * rng.normal() + signs * rng.normal(size=(1, 1, combinations))
                    + np.zeros(shape),
                )
            },
            {"source": ["a", "b"]},
        )
        for _ in range(replicates)
    ]  # fmt: skip


def test_scatter_is_told_apart():
    """2,000 scrambles: variances are known to 3.2 % (standard error); five of them (seed fixed)."""
    rng = np.random.default_rng(0)
    alike = scatter(runs(rng, 2000, 4, 0.1, 0.0), FACTOR, signs=False)
    np.testing.assert_allclose(alike.nodes, 0.1**2, rtol=0.16)
    np.testing.assert_allclose(alike.bias, alike.nodes)
    assert (alike.signs == 0).all()
    own = scatter(runs(rng, 2000, 4, 0.02, 0.4), FACTOR, signs=True)  # signs make most of it
    np.testing.assert_allclose(own.signs, 0.02**2 + 0.4**2 / 4, rtol=0.16)
    assert (own.nodes == 0).all()
    both = scatter(runs(rng, 2000, 4, 0.4, 0.2), FACTOR, signs=True)
    np.testing.assert_allclose(both.nodes, 0.4**2, rtol=0.16)
    np.testing.assert_allclose(both.signs, 0.2**2 / 4, rtol=0.25)
    assert (scatter(runs(rng, 1, 4, 0.1, 0.1), FACTOR, signs=True).nodes == 0).all()


def test_a_mean_over_scrambles_keeps_less_than_the_bias_that_is_told():
    """Of (1 + e)², e of deviation s: the mean is off by s², the squared scatter is 4 s²."""
    e = 0.1 * np.random.default_rng(1).normal(size=4000)
    made = [
        xr.Dataset(
            {"compared": (("source", "time", "combination"), np.full((2, 1, 1), (1 + x) ** 2))},
            {"source": ["a", "b"]},
        )
        for x in e
    ]
    told = float(scatter(made, FACTOR, signs=False).bias.squeeze())
    assert told > 0.01
    assert told == pytest.approx(4 * 0.01, rel=0.2)


@pytest.fixture(scope="module")
def pilot():
    """A pilot for sixty outputs at two times."""
    inputs = np.random.default_rng(0).normal(size=(60, 2)).tolist()
    problem = small_problem(
        1, observe={"times": [0.5, 1.0], "inputs": inputs}, networks={"widths": [100]}
    )
    with engine(problem, "", False) as work:
        yield _begun(Case(work, factors(problem)[0], 0.02, rms=False))


def test_the_cheapest_level_that_will_do_is_taken(pilot):
    """Against all of them."""
    assert pilot.pilot
    for tolerance in (0.2, 0.05, 0.01, 0.003):
        found = replace(pilot, case=replace(pilot.case, tolerance=tolerance))
        levels = [Level(doublings, count) for doublings in range(6) for count in COUNTS]
        enough = [own for own in levels if _ahead(found, own) <= SAFETY * tolerance]
        chosen = _next(found)
        assert chosen in enough
        assert _work(found, chosen) == min(_work(found, own) for own in enough)
    wanted = replace(pilot, case=replace(pilot.case, tolerance=1e-9))
    least = min(_ahead(wanted, own) for own in levels)
    near = [own for own in levels if _ahead(wanted, own) <= NEARLY * least]
    chosen = _next(wanted)
    assert chosen is not None
    assert _work(wanted, chosen) == min(_work(wanted, own) for own in near)


def test_more_nodes_and_scrambles_are_forecast_to_tell_more(pilot):
    levels = [Level(0, 4), Level(0, 8), Level(1, 8), Level(3, 8), Level(3, 64)]
    errors = [_ahead(pilot, level) for level in levels]
    assert errors == sorted(errors, reverse=True)
    assert len(set(errors)) == len(errors)


def test_forecasts_come_true(pilot):
    """The answer is as accurate as was asked: forecasts are good to a factor of two or so."""
    found = predict_fluctuations(pilot.case.engine.problem, tolerance=0.03, progress=False)
    assert found.met
    assert found.dataset.attrs["error"] > 0.03 / 8  # it has not done far too much
