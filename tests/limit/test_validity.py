"""Until when the limit describes networks: closed forms, sampled networks, and what is refused."""

import numpy as np
import pytest
import xarray as xr
from scipy.integrate import solve_ivp

from conftest import called
from widelimit import Problem, predict_fluctuations, solve, train
from widelimit.limit.validity import predict_validity

LINEAR = {
    "network": {
        "activations": ["identity"] * 3,
        "initial": {
            "input": {"law": "atoms", "points": [0.7]},
            "hidden": [
                {"law": "normal", "mean": 0.5, "std": 0.8},
                {"law": "uniform", "low": 0.1, "high": 1.1},
            ],
            "readout": {"law": "atoms", "points": [0.9]},
        },
    },
    "data": {"source": "table", "inputs": [1.0], "targets": [2.0]},
    "training": {"horizon": 3.0},
    "networks": {"widths": [64], "method": "flow", "precision": "float64"},
}


def linear_speed(_, s):
    """∂_t of the means w̄, ū, v̄, ā and of the second moments (first², both, second²) of pairs.

    With f = w̄ūv̄ā + … the mean weights and what differs between neurons of layer 1 (w̃, u_1),
    2 (u_2, v_2) and 3 (v_3, ã) are a closed system: e = f − y, w̃' = −e v̄ā u_1, u_1' = −e v̄ā w̃,
    u_2' = −e w̄ā v_2, v_2' = −e w̄ā u_2, v_3' = −e ūw̄ ã, …
    """
    w, u, v, a = s[:4]
    one, two, three = s[4:7], s[7:10], s[10:13]
    e = linear_output(s) - 2.0

    def pair(rate, moments):
        first, both, second = moments
        return [2 * rate * both, rate * (first + second), 2 * rate * both]

    means = [
        u * v * a + two[1] * a + u * three[1],
        w * (v * a + three[1]),
        (u * w + one[1]) * a,
        v * u * w + two[1] * w + v * one[1],
    ]
    return np.concatenate(
        [
            -e * np.array(means),
            pair(-e * v * a, one),
            pair(-e * w * a, two),
            pair(-e * u * w, three),
        ]
    )


def linear_output(s):
    """f of the means and moments of `linear_speed`."""
    w, u, v, a = s[:4]
    return w * u * v * a + s[5] * v * a + w * s[8] * a + w * u * s[11]


def linear_change(times, means=(0.0, 0.0), moments=(0.0,) * 9):
    """The derivative of the output by such changes of ū, v̄ and of the moments at time 0."""
    h = 1e-6
    start = np.array([0.7, 0.5, 0.6, 0.9, *np.zeros(9)])
    step = h * np.array([0.0, *means, 0.0, *moments])
    one, other = (
        linear_output(
            solve_ivp(linear_speed, (0, times[-1]), s, t_eval=times, rtol=1e-11, atol=1e-13).y
        )
        for s in (start + step, start)
    )
    return (one - other) / h


def linear_bias(times, widths, deviations):
    """What the differences between neurons move the output by, to order 1/n."""
    (n1, n2, n3), (s2, s3) = widths, np.square(deviations)
    moments = np.array([0, 0, s2 / n2, s2 / n1, 0, s3 / n3, s3 / n2, 0, 0])
    return linear_change(times, moments=moments)


def linear_departure(times, widths, deviations):
    """The RMS over networks of what random weights move the output by, to order 1/n.

    Beside the bias there are the means of all weights between two layers, σ (n n')^(-1/2) G.
    """
    (n1, n2, n3), (s2, s3) = widths, deviations
    u = s2 / np.sqrt(n1 * n2) * linear_change(times, means=(1.0, 0.0))
    v = s3 / np.sqrt(n2 * n3) * linear_change(times, means=(0.0, 1.0))
    return np.sqrt(linear_bias(times, widths, deviations) ** 2 + u**2 + v**2)


@pytest.mark.parametrize(
    "widths",
    [
        pytest.param((50, 40, 60), marks=pytest.mark.slow),  # each neuron
        (1000, 500, 2000),  # bundles
    ],
)
def test_a_deep_linear_network_in_closed_form(widths, monkeypatch):
    """60 draws scatter about the closed form, which has the next order in 1/n left out.

    At each of five times twice a 95 % half-width is missed with probability 1e-4.
    """
    monkeypatch.setattr("widelimit.limit.validity.DRAWS", 60)
    monkeypatch.setattr("widelimit.limit.validity.TIMES", 5)
    problem = Problem.from_dict(LINEAR | {"training": {"horizon": 0.8}})
    d = predict_validity(problem, [list(widths)], progress=False).dataset.isel(width=0)
    expected = linear_departure(d.validity_time.values, widths, (0.8, 1 / np.sqrt(12)))
    np.testing.assert_array_less(np.abs(d.departure - expected), 2 * d.departure_error)
    assert (d.departure_error < 0.2 * d.departure).all()
    np.testing.assert_allclose(d.distance, d.departure, rtol=1e-3)
    assert (d.band < 1e-3 * d.departure).all()  # all labels are equal; steps differ


def test_differences_grow_in_a_pulse_as_in_its_clock(monkeypatch):
    """Rates of 4 from 3 to 3.1, else 0: the closed form at ∫ξ, within two half-widths as above."""
    monkeypatch.setattr("widelimit.limit.validity.DRAWS", 60)
    monkeypatch.setattr("widelimit.limit.validity.TIMES", 3)
    rate = {"schedule": "piecewise", "times": [3.0, 3.1], "values": [0.0, 4.0, 0.0]}
    rates = dict.fromkeys(("input", "hidden", "readout"), rate)
    raw = LINEAR | {"training": {"horizon": 48.0, "learning_rates": rates}}
    found = predict_validity(Problem.from_dict(raw), [[1000, 500, 2000]], progress=False)
    d = found.dataset.isel(width=0)
    start, end = linear_departure(np.array([0.0, 0.4]), (1000, 500, 2000), (0.8, 1 / np.sqrt(12)))
    expected = np.array([start, end, end])
    np.testing.assert_array_less(np.abs(d.departure - expected), 2 * d.departure_error)
    assert (d.departure_error < 0.2 * d.departure).all()
    assert abs(end - start) > 2 * float(d.departure_error.max())  # a missed pulse would show


@pytest.mark.slow
def test_the_closed_form_is_the_bias_of_networks():
    """The mean of 2,000 networks of width 16 is off by it, to 20 % and five standard errors."""
    problem = Problem.from_dict(LINEAR).with_changes(
        networks={"widths": [16], "seeds": 2000}, observe={"times": [0.25, 0.5]}
    )
    networks = train(problem, progress=False).dataset.output.isel(width=0).squeeze()
    off = networks - solve(problem, progress=False).dataset.output.squeeze()
    expected = 16 * linear_bias(np.array([0.0, 0.25, 0.5]), (16,) * 3, (0.8, 1 / np.sqrt(12)))
    error = off.std("seed", ddof=1) / np.sqrt(2000)
    bound = 5 * error.values + 0.2 * np.abs(expected[1:] / 16)
    np.testing.assert_array_less(np.abs(off.mean("seed").values - expected[1:] / 16), bound)
    assert (bound < 0.8 * np.abs(expected[1:] / 16)).all()


RESTLESS = LINEAR | {
    "title": "restless",
    "network": LINEAR["network"]
    | {
        "initial": LINEAR["network"]["initial"]
        | {
            "hidden": {"law": "normal", "mean": 0.5, "std": 3.0},
            "readout": {"law": "atoms", "points": [0.6, 1.2]},
        }
    },
    "networks": {"widths": [4, 256], "seeds": 2, "method": "gd", "step": 0.02},
}


def test_commands_tell_until_when(tmp_path, capfd):
    """The run is marked in the file, on the page, and by its exit status."""
    path, run = tmp_path / "problem.toml", tmp_path / "run"
    path.write_text(Problem.from_dict(RESTLESS).to_toml(), encoding="utf-8")
    status, said, _ = called(capfd, "solve", path, "-o", run)
    assert status == 0  # the tolerance is met
    with xr.open_dataset(run / "limit.nc", engine="h5netcdf") as found:
        limit = found.load()
    narrow, wide = limit.describes_until.values
    assert 0 <= narrow < 1 < wide == np.inf
    assert f"until 4: t = {narrow:.3g}, 256: the end" in said
    assert limit.describes.dims == ("width", "time")
    assert limit.describes.values[0].tolist() == (limit.time.values < narrow).tolist()
    assert limit.describes.values[1].all()
    assert called(capfd, "run", path, "-o", run)[0] == 1
    page = (run / "report.html").read_text(encoding="utf-8")
    assert f"width 4: t = {narrow:.3g}, width 256: the end" in page
    assert page.count('<div class="card fails">') == 1  # networks of width 4 leave


@pytest.mark.slow
def test_error_bars_end_where_the_limit_does():
    found = predict_fluctuations(Problem.from_dict(RESTLESS), progress=False)
    d, ends = found.dataset, found.dataset.clt_until.values
    refused = np.isnan(d.output_std).all(["input", "channel"]).values
    assert refused.tolist() == [(d.time.values > end).tolist() for end in ends]
    assert refused[0].any()
    assert any("no standard deviations after" in warning for warning in found.warnings)
    assert (d.variance.notnull()).all()


X = [[0.35, 0.82], [0.33, -1.3], [0.91, 0.45], [-0.54, 0.58], [0.36, 0.29], [0.03, 0.55]]
Y = [[0.343, -0.069], [0.324, -0.857], [0.789, 0.622], [-0.514, 0.4], [0.352, 0.836], [0.03, 0.454]]
CONSTANT = {
    "title": "constant readout",
    "network": {
        "activations": ["tanh"] * 2,
        "initial": {"readout": {"law": "normal", "mean": 1.0, "std": 0.0}},
    },
    "data": {
        "source": "table",
        "inputs": [*X, [-0.74, -0.16], [-0.48, 0.6]],
        "targets": [*Y, [-0.674, 0.949], [-0.462, 0.362]],
    },
    "training": {"horizon": 25.0},
    "limit": {"tolerance": 0.01},
    "observe": {"times": [0.0, 10.0, 25.0]},
    "networks": {"widths": [64], "seeds": 4, "method": "flow"},
}


def test_a_constant_readout_is_marked_as_collapsed(tmp_path, capfd):
    """At two layers: said, in the file, exit status 1; networks are near at t = 10, gone at 25.

    Eight networks of width 64 were .04 and .31 away, six and nine standard errors from `left`.
    """
    path, run = tmp_path / "problem.toml", tmp_path / "run"
    path.write_text(Problem.from_dict(CONSTANT).to_toml(), encoding="utf-8")
    status, _, noted = called(capfd, "run", path, "-o", run)
    assert status == 1
    assert "neurons of hidden layer 2 are alike" in noted
    with xr.open_dataset(run / "limit.nc", engine="h5netcdf") as found:
        limit = found.load()
    with xr.open_dataset(run / "networks.nc", engine="h5netcdf") as found:
        off = found.load().output.isel(width=0) - limit.output
    rms = np.sqrt((off**2).mean(["seed", "input", "channel"])).values
    assert rms[1] < limit.left.item() < rms[2]
    assert 10 < limit.describes_until.item() < 25
    assert limit.describes.values.tolist() == [[True, True, False]]
    assert "width 64: t = " in (run / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_bands_of_a_constant_readout_end():
    """Networks of width 64 differ by a band at t = 0, and by what bands do not know at t = 25."""
    found = predict_fluctuations(Problem.from_dict(CONSTANT), tolerance=0.1, progress=False)
    known = np.isfinite(found.dataset.output_std).all(["input", "channel"]).values
    assert known[0].tolist()[::2] == [True, False]
    assert any("no standard deviations after" in warning for warning in found.warnings)


def outputs_that_stay_0(targets):
    """Three layers, hidden weights with mean 0: the limit does not move."""
    hidden = {"law": "normal", "mean": 0.0, "std": 1.0}
    network = {"activations": ["tanh"] * 3, "initial": {"hidden": hidden}}
    data = {"source": "table", "inputs": [[0.5, 1.0], [-1.0, 0.2]], "targets": targets}
    return Problem.from_dict({"network": network, "data": data, "training": {"horizon": 1.0}})


def test_where_outputs_stay_0_the_targets_tell_what_is_far():
    found = predict_validity(outputs_that_stay_0([3.0, -4.0]), [64], progress=False)
    assert float(found.dataset.left[0]) == pytest.approx(0.5 * np.sqrt((9 + 16) / 2))
    assert float(found.dataset.describes_until[0]) == np.inf
    assert float(found.dataset.distance[0, 0]) > 0  # networks start at f ~ 1/n, not at 0
    assert found.reaches_horizon()


@pytest.mark.slow
def test_where_nothing_tells_what_is_far_no_time_is_told():
    problem = outputs_that_stay_0([0.0, 0.0])
    found = predict_validity(problem, [64], progress=False)
    assert np.isnan(found.dataset.describes_until).all()
    assert not found.reaches_horizon()
    assert "not known" in repr(found)
    limit = solve(problem, progress=False).with_validity(found)
    assert any("give targets that are not all 0" in warning for warning in limit.warnings)
    assert not limit.dataset.describes.any()


@pytest.mark.filterwarnings("error")
def test_one_layer_has_no_differences_that_could_grow():
    problem = Problem.from_dict(
        {
            "network": {"activations": ["tanh"]},
            "data": {"source": "table", "inputs": [0.5, -1.0], "targets": [0.4, 0.1]},
            "training": {"horizon": 1.0},
        }
    )
    d = predict_validity(problem, [1000], progress=False).dataset
    assert (d.departure == 0).all()
    assert (d.band > 0).all()
    assert float(d.clt_until[0]) == np.inf
    assert np.isnan(d.growth_rate).all()


@pytest.mark.slow
def test_what_cannot_move_is_described_until_the_end():
    """All rates 0: neurons of layer 2 are alike and differ in networks, and stay as they are."""
    still = {"learning_rates": {"input": 0.0, "hidden": 0.0, "readout": 0.0}}
    problem = Problem.from_dict(CONSTANT | {"training": {"horizon": 25.0, **still}})
    d = predict_validity(problem, [64], progress=False).dataset
    assert (d.describes_until == np.inf).all()
    np.testing.assert_allclose(d.gain, 1.0)


@pytest.mark.slow
def test_networks_leave_digits_when_predicted():
    """Three hidden layers on 180 digits: networks of three widths leave within 15 % of t*.

    A network has left when its RMS distance from the limit is `left`; the mean square over a few
    networks is taken. (equations.md §6: laws N(0, 1), N(0.5, 1), N(1, 1), gradient flow.)
    """
    normal = {"law": "normal", "std": 1.0}
    problem = Problem.from_dict(
        {
            "network": {
                "activations": ["tanh"] * 3,
                "initial": {
                    "input": normal,
                    "hidden": normal | {"mean": 0.5},
                    "readout": normal | {"mean": 1},
                },
            },
            "data": {"source": "digits", "holdout": 0.9},
            "training": {"horizon": 80.0},
            "observe": {"times": list(np.arange(0.0, 80.5, 2.5))},
            "limit": {"precision": "float32"},
            "networks": {"widths": [64, 256, 1024], "method": "flow", "precision": "float32"},
        }
    )
    found = predict_validity(problem, progress=False).dataset
    limit = solve(problem, progress=False).dataset
    for width, seeds in [(64, 8), (256, 4), (1024, 2)]:
        asked = problem.with_changes(networks={"widths": [width], "seeds": seeds})
        off = train(asked, progress=False).dataset.output.isel(width=0) - limit.output
        rms = np.sqrt((off**2).mean(["seed", "input", "channel"]))
        at = found.sel(width=width)
        k = int(np.argmax(rms.values > float(at.left)))
        (t0, t1), (r0, r1) = limit.time.values[k - 1 : k + 1], np.log(rms.values[k - 1 : k + 1])
        left = t0 + (t1 - t0) * (np.log(float(at.left)) - r0) / (r1 - r0)
        until = float(at.describes_until)
        print(f"\nwidth {width}: networks leave at {left:.1f}, predicted {until:.1f}", end="")
        assert abs(until / left - 1) < 0.15
