"""Until when the limit describes networks: closed forms, sampled networks, and what is refused."""

import numpy as np
import pytest
import xarray as xr
from scipy.integrate import solve_ivp

from conftest import called
from widelimit import Problem, predict_fluctuations, solve, train
from widelimit.around.validity import predict_validity

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


def linear_departure(times, widths, deviations):
    """n_1 times what random weights move the output of a deep linear network by, to order 1/n.

    With f = w̄ūv̄ā + … the mean weights and the second moments of what differs between neurons of
    layer 1 (w̃, u_1), 2 (u_2, v_2) and 3 (v_3, ã) are a closed system: e = f − y,
    w̃' = −e v̄ā u_1, u_1' = −e v̄ā w̃, u_2' = −e w̄ā v_2, v_2' = −e w̄ā u_2, v_3' = −e ūw̄ ã, …
    """
    n1, n2, n3 = widths
    h = 1e-6

    def pair(rate, moments):
        first, both, second = moments
        return [2 * rate * both, rate * (first + second), 2 * rate * both]

    def speed(_, s):
        w, u, v, a = s[:4]
        one, two, three = s[4:7], s[7:10], s[10:13]  # (first², both, second²) of each pair
        e = w * u * v * a + one[1] * v * a + w * two[1] * a + w * u * three[1] - 2.0
        means = [
            u * v * a + two[1] * a + u * three[1],
            w * (v * a + three[1]),
            (u * w + one[1]) * a,
            v * u * w + two[1] * w + v * one[1],
        ]
        return np.concatenate([
            -e * np.array(means),
            pair(-e * v * a, one), pair(-e * w * a, two), pair(-e * u * w, three),
        ])  # fmt: skip

    def output(size):
        s2, s3 = (size * d**2 for d in deviations)
        start = [0.7, 0.5, 0.6, 0.9, 0, 0, s2 / n2, s2 / n1, 0, s3 / n3, s3 / n2, 0, 0]
        at = solve_ivp(speed, (0, times[-1]), start, t_eval=times, rtol=1e-11, atol=1e-13).y
        w, u, v, a = at[:4]
        return w * u * v * a + at[5] * v * a + w * at[8] * a + w * u * at[11]

    return (output(h) - output(0.0)) / h * n1


def test_a_deep_linear_network_in_closed_form():
    """Random copies scatter about the closed form: within two half-widths at every time.

    The half-widths are 95 % of Student's t with 4 degrees of freedom: twice as much is missed with
    probability 0.5 % where times are independent, and they all come from the same copies.
    """
    found = predict_validity(Problem.from_dict(LINEAR), [[100, 50, 200]], progress=False)
    d = found.dataset.isel(width=0)
    expected = linear_departure(d.validity_time.values, (100, 50, 200), (0.8, 1 / np.sqrt(12)))
    np.testing.assert_array_less(
        np.abs(d.departure.values * 100 - np.abs(expected)), 200 * d.departure_error.values + 1e-3
    )
    assert d.departure_error.max() < 0.5 * d.departure.max()
    assert (d.band == 0).all()


def test_differences_grow_in_a_pulse_as_in_its_clock():
    """Rates of 4 from 3 to 3.1, else 0: the closed form at ∫ξ, within two half-widths as above."""
    rate = {"schedule": "piecewise", "times": [3.0, 3.1], "values": [0.0, 4.0, 0.0]}
    rates = dict.fromkeys(("input", "hidden", "readout"), rate)
    raw = LINEAR | {"training": {"horizon": 48.0, "learning_rates": rates}}
    found = predict_validity(Problem.from_dict(raw), [[100, 50, 200]], progress=False)
    d = found.dataset.isel(width=0)
    clock = np.where(d.validity_time.values > 3.0, 0.4, 0.0)
    kinds = np.unique(clock)
    closed = linear_departure(kinds, (100, 50, 200), (0.8, 1 / np.sqrt(12)))
    expected = closed[np.searchsorted(kinds, clock)]
    np.testing.assert_array_less(
        np.abs(d.departure.values * 100 - np.abs(expected)), 200 * d.departure_error.values + 1e-3
    )
    assert d.departure_error.values[-1] < 0.5 * d.departure.values[-1]


def test_the_closed_form_is_the_bias_of_networks():
    """The mean of 2,000 networks of width 16 is off by it, to 20 % and five standard errors."""
    problem = Problem.from_dict(LINEAR).with_changes(
        networks={"widths": [16], "seeds": 2000}, observe={"times": [0.25, 0.5]}
    )
    networks = train(problem, progress=False).dataset.output.isel(width=0).squeeze()
    off = networks - solve(problem, progress=False).dataset.output.squeeze()
    expected = linear_departure(np.array([0.0, 0.25, 0.5]), (16,) * 3, (0.8, 1 / np.sqrt(12)))
    error = off.std("seed", ddof=1) / np.sqrt(2000)
    bound = 5 * error.values + 0.2 * np.abs(expected[1:] / 16)
    np.testing.assert_array_less(np.abs(off.mean("seed").values - expected[1:] / 16), bound)
    assert (bound < 0.8 * np.abs(expected[1:] / 16)).all()


RESTLESS = LINEAR | {
    "title": "restless",
    "network": LINEAR["network"] | {
        "initial": LINEAR["network"]["initial"] | {
            "hidden": {"law": "normal", "mean": 0.5, "std": 3.0},
            "readout": {"law": "atoms", "points": [0.6, 1.2]},
        }
    },
    "networks": {"widths": [4, 256], "seeds": 2, "method": "gd", "step": 0.02},
}  # fmt: skip


def test_commands_tell_until_when(tmp_path, capfd):
    """The run is marked in the file, on the page, and by its exit status; error bars end."""
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
    found = predict_fluctuations(Problem.from_dict(RESTLESS), progress=False)
    d, ends = found.dataset, found.dataset.clt_until.values
    refused = np.isnan(d.output_std).all(["input", "channel"]).values
    assert refused.tolist() == [(d.time.values > end).tolist() for end in ends]
    assert refused[0].any()
    assert any("no standard deviations after" in warning for warning in found.warnings)
    assert (d.variance.notnull()).all()


@pytest.mark.slow
def test_networks_leave_digits_when_predicted():
    """Three hidden layers on digits: networks of three widths leave within 15 % of t*.

    A network has left when its RMS distance from the limit is `left`; the mean square over a few
    networks is taken. (equations.md §6: laws N(0, 1), N(0.5, 1), N(1, 1), gradient flow.)
    """
    normal = {"law": "normal", "std": 1.0}
    problem = Problem.from_dict({
        "network": {
            "activations": ["tanh"] * 3,
            "initial": {
                "input": normal, "hidden": normal | {"mean": 0.5}, "readout": normal | {"mean": 1},
            },
        },
        "data": {"source": "digits"},
        "training": {"horizon": 80.0},
        "observe": {"times": list(np.arange(0.0, 80.5, 2.5))},
        "limit": {"precision": "float32"},
        "networks": {"widths": [64, 256, 1024], "method": "flow", "precision": "float32"},
    })  # fmt: skip
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
