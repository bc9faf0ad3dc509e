"""Distances, their errors and the fitted exponent on made-up results with known answers."""

import numpy as np
import pytest
import xarray as xr

from conftest import small_problem
from widelimit import Trajectory, compare

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
    left_out = np.array([
        [np.delete(row, s, axis=0).var(axis=0, ddof=1).mean(axis=-1) for s in range(7)]
        for row in values
    ])  # fmt: skip
    squared = 6 / 7 * ((left_out - left_out.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    expected = np.sqrt(squared) / (2 * np.array(found.spread).T)
    np.testing.assert_allclose(np.array(found.spread_se).T, expected, rtol=1e-9)


def test_two_seeds_have_a_spread_without_an_error():
    found = compare(*_made_up(_noise(2)))
    assert np.isfinite(found.spread).all()
    assert np.isnan(found.spread_se).all()
