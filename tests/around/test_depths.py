"""Networks of finite depth around an infinitely deep limit: scatter, its profile, and the shift."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from conftest import table
from widelimit import Problem, plan_width, predict_fluctuations, solve, train
from widelimit.around.depths import by_depth, candidates, shifts
from widelimit.basics import store
from widelimit.basics.precision import in_precision
from widelimit.ensemble.model import model_of
from widelimit.report.pictures import draw_band, draw_scaled
from widelimit.report.words import plan_lines


def residual(units: dict | str = "perceptron", **sections) -> Problem:
    """A small residual problem of infinite depth."""
    network = {"architecture": "residual", "blocks": [units]} | sections.pop("network", {})
    raw = {"network": network, "data": table(), "training": {"horizon": 1.0}}
    return Problem.from_dict({**raw, "observe": {"times": [1.0]}, **sections})


LINEAR = {"unit": "perceptron", "activation": "identity"}


def closed(problem: Problem, blocks: int) -> np.ndarray:
    """Outputs of linear units of the law, by SciPy from the equation of their second moments."""
    import plain_residual

    with in_precision("float64"):
        ends = model_of(problem).drawn(jax.random.key(0), (1, 1), (2, 1), jnp.float64)[0].parameters
    own = {name: np.asarray(getattr(ends, name)) for name in ("embedding", "unembedding")}
    law = [np.eye(2), np.zeros((2, 2)), np.eye(2) / 2]  # a of variance 1, w of 1/D
    data = problem.dataset
    return plain_residual.linear([law] * blocks, data.inputs, data.targets, own, 1.0, 1e-10)


def test_the_shift_by_the_depth_is_that_of_closed_moments(tmp_path, monkeypatch):
    """2, 4 and 6 blocks, and 6 from a limit of 2: within the error that is told, which is small.

    All runs are kept: those of the same units at other depths are not taken for each other.
    """
    monkeypatch.setattr(store, "SHORT", -1.0)
    problem = residual(LINEAR, networks={"shapes": [[2, 4], [4, 4], [6, 4]], "method": "flow"})
    depths = by_depth(problem)
    limit = 2 * closed(problem, 128) - closed(problem, 64)
    with store.kept_in(tmp_path):
        each = shifts(problem, depths, [0.0, 0.0, 0.0], False)
    for blocks, found in zip((2, 4, 6), each, strict=True):
        error = found.value[-1] - (closed(problem, blocks) - limit)
        assert (np.abs(error) <= found.error[-1]).all()
        assert np.sqrt(np.mean(found.error[-1] ** 2)) < 0.2 * found.rms[-1]
    (other,) = shifts(depths[0], depths[2:], [0.0], False)
    error = other.value[-1] - (closed(problem, 6) - closed(problem, 2))
    assert (np.abs(error) <= other.error[-1]).all()


def test_scatter_at_the_start_is_told_depth_by_depth():
    """At t = 0 the stream does not move: every depth makes E sin²(w·h) |U|² of the variance.

    With w of law N(0, I/2) this is (1 − exp(−|h|²)) |U|² / 2. Networks of two depths, in order.
    """
    shapes = [[4, 8], [2, 4], [4, 16]]
    problem = residual(
        {"unit": "perceptron", "activation": "sin"},
        networks={"shapes": shapes, "method": "flow"},
        observe={"times": [0.0]},
    )
    found = predict_fluctuations(problem, progress=False)
    d = found.dataset
    assert found.plot().get_ylabel() == "standard deviation, width 4 × 16"
    with in_precision("float64"):
        ends = model_of(problem).drawn(jax.random.key(0), (1, 1), (2, 1), jnp.float64)[0].parameters
    squares = (problem.dataset.inputs**2).sum(axis=1)
    expected = (1 - np.exp(-squares)) / 2 * float((np.asarray(ends.unembedding) ** 2).sum())
    assert d["widths"].values.tolist() == shapes
    assert d["width"].values.tolist() == [8, 4, 16]
    assert d["depth"].values.tolist() == [4, 2, 4]
    for row, (blocks, width) in enumerate(shapes):
        own = d.isel(width=row, time=0)
        error = own.output_std.values[:, 0] - np.sqrt(expected / (blocks * width))
        assert (np.abs(error) <= own.output_std_error.values[:, 0]).all()
    profile = d.depth_profile.isel(time=0, channel=0)
    assert profile.dims == ("depth_node", "input")
    assert profile.depth_node.values.tolist() == [0.125, 0.375, 0.625, 0.875]
    error = np.abs(profile.values - expected)
    assert (error <= 2 * d.depth_profile_error.isel(time=0, channel=0).values).all()
    unit = d.unit_variance.sel(source="units").isel(width=0, time=0, channel=0)
    np.testing.assert_allclose(profile.mean("depth_node"), unit, rtol=1e-10)
    np.testing.assert_array_equal(d.depth_shift, 0.0)


def test_bands_lie_around_what_the_depth_shifts():
    """A shift that is written into the prediction moves band and histogram, not the limit."""
    problem = residual(
        limit={"tolerance": 0.5},
        networks={"shapes": [[2, 4], [2, 8]], "method": "flow", "seeds": 3},
        observe={"times": [0.0]},
    )
    limit, networks = solve(problem, progress=False), train(problem, progress=False)
    d = predict_fluctuations(problem, tolerance=0.5, progress=False).dataset
    far = d.assign(depth_shift=2 * d.output_std)
    bands = [draw_band(limit, networks, found) for found in (d, far)]
    outlines = [np.asarray(band.collections[0].get_paths()[0].vertices) for band in bands]
    heights = [outline[:, 1] for outline in outlines]
    size = (heights[0].max() - heights[0].min()) / (2 * 1.96)
    np.testing.assert_allclose(heights[1], heights[0] + 2 * size)
    assert bands[0].lines[-1].get_ydata() == bands[1].lines[-1].get_ydata()  # the limit itself
    means = [_mean_of(draw_scaled(limit, networks, found).patches[0]) for found in (d, far)]
    assert means[1] == pytest.approx(means[0] - 2, abs=0.25)  # a bin of the histogram is as wide


def _mean_of(histogram) -> float:
    """The mean of what a histogram shows, from its outline."""
    x, height = histogram.get_xy().T
    middles, width = (x[1:] + x[:-1]) / 2, np.diff(x)
    return float((middles * width) @ height[1:] / (width @ height[1:]))


def test_shapes_with_equal_numbers_have_both_in_their_name():
    problem = residual(networks={"shapes": [[8, 8]]})
    assert problem.network.name((8, 8)) == "8 × 8"
    raw = {**problem.as_dict(), "networks": {"widths": [8]}}
    layered = Problem.from_dict({**raw, "network": {"activations": ["tanh"] * 2}})
    assert layered.network.name((8, 8)) == "8"


@pytest.mark.slow
def test_plans_are_pairs_that_keep_their_word():
    """Prediction and shift at every planned pair make up what was asked; deeper ones weigh less."""
    problem = residual(networks={"shapes": [[4, 8]], "method": "flow"})
    plan = plan_width(problem, 0.05, progress=False)
    assert len({choice.widths[0] for choice in plan.choices}) >= 3
    for choice in (plan.cheapest, plan.quickest):
        shape = {"shapes": [list(choice.widths)]}
        found = predict_fluctuations(problem.with_changes(networks=shape), progress=False)
        d = found.dataset.isel(width=0, time=-1)
        reached = np.hypot(float(d.rms_std), float(d.rms_depth_shift))
        assert reached == pytest.approx(0.05, rel=plan.error + 0.05)  # M is a whole number
    assert plan.cheapest.widths[0] > plan.quickest.widths[0]
    assert plan.cheapest.weights < plan.quickest.weights
    assert "quickest" in "\n".join(plan_lines(plan))
    (own,) = candidates(problem.with_changes(network={"depth": 4}), 0.05, False)
    assert own.shift == 0


STREAM = {"network": {"initial": {"input": {"law": "normal"}, "readout": {"law": "normal"}}}}


@pytest.mark.slow
@pytest.mark.parametrize("shape", [[8, 64], [16, 64], [64, 4]])
def test_predicted_scatter_is_that_of_networks(shape):
    """200 networks: the ratio of RMS standard deviations is within its 99 % interval ± 5 %.

    Their mean is the limit's shifted as predicted, within the scatter of a mean.
    """
    x = np.random.default_rng(0).normal(size=(24, 4))
    y = np.sin(x[:, 0]) + 0.5 * np.cos(2 * x[:, -1])
    problem = residual(
        **STREAM,
        data={"source": "table", "inputs": x.tolist(), "targets": y.tolist()},
        training={"horizon": 3.0},
        observe={"times": [3.0]},
        limit={"tolerance": 2e-3},
        networks={"shapes": [shape], "seeds": 200, "method": "flow"},
    )
    found = predict_fluctuations(problem, progress=False)
    d, networks = found.dataset.isel(width=0, time=-1), train(problem, progress=False)
    values = networks.dataset.output.isel(width=0, time=-1).values[..., 0].astype(float)
    predicted = float(d.rms_std)
    measured = np.sqrt(values.var(axis=0, ddof=1).mean())
    free = 199 * found.effective_outputs
    half = 2.576 / np.sqrt(2 * free) + float(d.rms_std_error) / predicted
    shift = values.mean(axis=0) - solve(problem, progress=False).dataset.output.values[-1, :, 0]
    print(
        f"{shape}: predicted {predicted:.4f}, measured {measured:.4f}, "
        f"ratio {predicted / measured:.3f} ± {half:.3f}; shift {float(d.rms_depth_shift):.4f}, "
        f"measured {np.sqrt(np.mean(shift**2)):.4f}"
    )
    assert abs(predicted / measured - 1) <= half + 0.05
    left = shift - d.depth_shift.values[:, 0]
    noise = values.std(axis=0, ddof=1) / np.sqrt(200)
    assert np.mean((left / (noise + 2e-3)) ** 2) < 2.5  # 1 is expected, over correlated outputs
