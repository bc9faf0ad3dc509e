"""Distances, their errors and the fitted exponent on made-up results with known answers."""

import numpy as np
import pytest
import xarray as xr

from conftest import small_problem, table
from widelimit import Trajectory, compare, solve, train
from widelimit.results.closing import offset_falls_faster, ran_away

WIDTHS = [64, 128, 256, 512]


def _made_up(values, widths=WIDTHS, error=1e-6, shapes=None):
    """A limit that is zero and networks with the given outputs (width, seed, time, input)."""
    dims = ("width", "seed", "time", "input", "channel")
    times = np.arange(values.shape[2], dtype=float)
    shapes = [[w] for w in widths] if shapes is None else shapes
    problem = small_problem(depth=len(shapes[0]))
    networks = xr.Dataset(
        {
            "output": (dims, values[..., None]),
            "risk": (dims[:3], 0.5 * (values**2).mean(axis=-1)),
            "widths": (("width", "layer"), shapes),
        },
        {"width": widths, "time": times},
        {"kind": "networks", "warnings": "[]"},
    )
    zeros = np.zeros((*values.shape[2:], 1))
    limit = xr.Dataset(
        {"output": (dims[2:], zeros), "output_error": (dims[2:], zeros + error)},
        {"time": times},
        {"kind": "limit", "warnings": "[]"},
    )
    return [Trajectory(problem, d, xr.DataTree()) for d in (limit, networks)]


def _noise(seeds, offset=0.0, inputs=40, exponent=-0.5, seed=0):
    rng = np.random.default_rng(seed)
    scale = np.array(WIDTHS, float)[:, None, None, None] ** exponent
    noise = rng.normal(size=(len(WIDTHS), seeds, 2, inputs)) * scale
    return noise + offset / np.array(WIDTHS)[:, None, None, None]


def test_rms_spread_and_offset_are_told_apart():
    found = compare(*_made_up(_noise(200, offset=8.0)))
    for row, n in enumerate(WIDTHS):
        # 200 × 40 draws: relative sd of a spread is 1/√16000 = 0.008; five of them
        assert found.spread[0][row] == pytest.approx(n**-0.5, rel=0.04)
        assert abs(found.offset[0][row] - 8 / n) < 5 * found.offset_se[0][row]
        assert found.rms[0][row] == pytest.approx(np.sqrt(1 / n + 64 / n**2), rel=0.05)


def test_offset_without_bias_is_not_seen():
    found = compare(*_made_up(_noise(50)))
    naive = np.array(WIDTHS) ** -0.5 / np.sqrt(50)  # what averaging noise alone would show
    assert (np.array(found.offset[0]) < naive).all()


@pytest.mark.parametrize("exponent", [-0.5, -1.0])
def test_exponent_interval_covers(exponent):
    """95 % intervals over 200 made-up sweeps: fewer than 180 cover with probability below 1e-3."""
    covered = 0
    for seed in range(100):
        for fit in compare(*_made_up(_noise(6, inputs=5, exponent=exponent, seed=seed))).exponent:
            covered += fit["low"] <= exponent <= fit["high"]
    assert covered >= 180


def test_exponent_is_refused_with_a_reason():
    noise = _noise(10)
    few_widths = compare(*_made_up(noise[:2], WIDTHS[:2]))
    assert few_widths.exponent == [None, None]
    assert "at least 3 widths, found 2" in str(few_widths.exponent_reason[0])
    assert "at least 5 seeds, found 4" in str(compare(*_made_up(noise[:, :4])).exponent_reason[0])
    assert "error bar" in str(compare(*_made_up(noise, error=0.1)).exponent_reason[0])
    assert "exactly zero" in str(compare(*_made_up(noise * 0)).exponent_reason[0])
    shapes = [[64, 64], [128, 64], [256, 64], [512, 64]]
    assert "proportion" in str(compare(*_made_up(noise, shapes=shapes)).exponent_reason[0])


def test_widths_come_in_order():
    noise = _noise(10)
    found = compare(*_made_up(noise[::-1].copy(), WIDTHS[::-1]))
    assert found.widths == WIDTHS
    assert found.rms[0][0] > found.rms[0][-1]


def test_one_seed_has_a_distance_but_no_error():
    found = compare(*_made_up(_noise(1)))
    assert np.isfinite(found.rms).all()
    assert np.isnan(found.rms_se).all()
    assert np.isnan(found.spread).all()


def test_wrong_kinds_are_refused():
    limit, networks = _made_up(_noise(5))
    with pytest.raises(ValueError, match="a limit and networks, not networks, limit"):
        compare(networks, limit)


def test_it_draws_itself():
    axes = compare(*_made_up(_noise(10))).plot()
    labels = axes.get_legend_handles_labels()[1]
    assert any(label.startswith("slope") for label in labels)
    assert axes.get_xscale() == axes.get_yscale() == "log"


def test_the_error_of_a_spread_is_the_jackknife():
    """Against leaving each seed out in turn, and computing the spread anew."""
    values = _noise(7, inputs=3)
    found = compare(*_made_up(values))
    left_out = np.array(
        [
            [np.delete(row, s, axis=0).var(axis=0, ddof=1).mean(axis=-1) for s in range(7)]
            for row in values
        ]
    )
    squared = 6 / 7 * ((left_out - left_out.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    expected = np.sqrt(squared) / (2 * np.array(found.spread).T)
    np.testing.assert_allclose(np.array(found.spread_se).T, expected, rtol=1e-9)


def test_two_seeds_have_a_spread_without_an_error():
    found = compare(*_made_up(_noise(2)))
    assert np.isfinite(found.spread).all()
    assert np.isnan(found.spread_se).all()


# Whether networks close in


def _alike(seeds, offset, seed, widths=WIDTHS):
    """Outputs that all share one Gaussian number a network, ∝ n^(-1/2): the worst case for tests.

    Their mean is off by `offset(n)`.
    """
    n = np.array(widths, float)[:, None, None, None]
    noise = np.random.default_rng(seed).normal(size=(len(widths), seeds, 2, 1))
    return (noise * n**-0.5 + offset(n)) * np.ones(5)


@pytest.mark.parametrize("offset", [lambda n: 0 * n, lambda n: 8 / n, lambda n: n**-0.5])
def test_networks_that_close_in_are_not_denied_it(offset):
    """The verdict's false alarms are at most 3.5 %: more than 14 in 150 then have p = 3e-4."""
    found = [compare(*_made_up(_alike(6, offset, seed))) for seed in range(150)]
    assert sum(one.closes is False for one in found) <= 14


def test_networks_that_close_in_are_told_so():
    """40 independent outputs: a spread's relative error is 1/√(2·40·10), intervals are short."""
    found = compare(*_made_up(_noise(10)))
    assert (found.closes, found.closes_reason) == (True, None)
    assert found.as_dict()["closes"] is True


def test_a_distance_that_stays():
    found = compare(*_made_up(_noise(10, exponent=0.0)))
    assert found.closes is False
    assert "∝ width^(" in found.closes_reason
    assert "where −0.5 is expected" in found.closes_reason


def test_an_offset_that_stays_below_a_spread_that_shrinks():
    """The exponent alone would not tell: −0.4 or so. Offsets are resolved to a hundredth."""
    values = _noise(20) + 0.03
    found = compare(*_made_up(values))
    assert found.exponent[-1]["value"] < -0.3
    assert found.closes is False
    assert "their mean stays away from it, by 0.03" in found.closes_reason
    assert "at width 512 (standard errors)" in found.closes_reason
    # but not if the limit may be wrong by as much, or if nobody knows the errors
    assert compare(*_made_up(values, error=0.03)).closes is not False
    assert compare(*_made_up(values[:, :2])).closes is None


def test_what_cannot_be_told_has_a_reason():
    found = compare(*_made_up(_noise(1)))
    assert found.closes is None
    assert "at least 5 seeds" in found.closes_reason
    narrow = compare(*_made_up(_alike(5, lambda n: 0 * n, 3)))
    low, high = narrow.exponent[-1]["low"], narrow.exponent[-1]["high"]
    assert low < -0.3 < high  # seed 3: five seeds are few
    assert narrow.closes is None
    assert "does not lie on one side of −0.3" in narrow.closes_reason


def _atoms(**sections):
    neuron = {"law": "atoms", "points": [[1.0, 0.5, 2.0], [-0.7, 1.2, 0.4], [0.3, -0.8, -1.0]]}
    return small_problem(
        network={"activations": ["tanh"], "initial": {"neuron": neuron}},
        training={"horizon": 2.0},
        **{"networks": {"widths": [16, 64, 256], "seeds": 12, "method": "flow"}, **sections},
    )


@pytest.fixture(scope="module")
def limit():
    return solve(_atoms(), progress=False)


def test_networks_of_the_same_problem_are_not_kept_away(limit):
    """A false alarm has a probability of at most 3.5 % (the seed is fixed)."""
    found = compare(limit, train(_atoms(), progress=False))
    assert found.closes is not False
    assert found.exponent[-1]["low"] < -0.5 < found.exponent[-1]["high"]


def test_networks_of_another_problem_are_kept_away(limit):
    """They learn −y in place of y: at the end outputs differ by twice what was learned."""
    turned = _atoms(data={**table(), "targets": [-y for y in table()["targets"]]})
    found = compare(limit, train(turned, progress=False))
    assert found.closes is False
    assert "networks do not close in on the limit" in found.closes_reason


def test_a_step_that_is_the_same_at_all_widths_is_named(limit):
    """Gradient descent with steps that overshoot is another dynamics than the flow."""
    coarse = _atoms(networks={"widths": [64, 256, 1024], "seeds": 12, "method": "gd", "step": 2.0})
    found = compare(limit, train(coarse, progress=False))
    assert found.closes is False
    assert "the step ε = 2.0 is the same at all widths" in found.closes_reason


def test_networks_that_ran_away_are_no_result():
    """Readouts alone learn, too fast: errors grow by one factor a step, and stay finite."""
    neuron = {"law": "atoms", "points": [[1.0, 0.5, 2.0], [-0.7, 1.2, 0.4], [0.3, -0.8, -1.0]]}
    fast = small_problem(
        network={"activations": ["tanh"], "initial": {"neuron": neuron}},
        training={"horizon": 400.0, "learning_rates": {"input": 0.0}},
        networks={"widths": [16, 64, 256], "seeds": 5, "method": "gd", "step": 20.0},
    )
    networks = train(fast, progress=False)
    assert 1e7 < networks.dataset.risk[:, :, -1].max() < np.inf
    assert "networks have run away: of width" in ran_away(networks)
    found = compare(solve(fast, progress=False), networks)
    assert (found.closes, found.closes_reason) == (False, ran_away(networks))
    assert ran_away(train(_atoms(), progress=False)) is None


def test_captions_claim_only_what_was_measured():
    """An offset of 8/n is seen to fall faster than the spread; one that stays is not."""
    falls = compare(*_made_up(_noise(200, offset=8.0)))
    assert offset_falls_faster(falls)
    assert not offset_falls_faster(compare(*_made_up(_noise(200) + 0.1)))
    assert not offset_falls_faster(compare(*_made_up(_noise(1))))
