"""Reproductions: verdicts, fits, and the smoke form of every paper."""

import json

import numpy as np
import pytest

from widelimit import ProblemError
from widelimit.basics.store import Entry
from widelimit.papers import PAPERS, find, reproduce
from widelimit.papers.claims import Claim, Measured, checked, exponent, judged, mean
from widelimit.papers.measures.cut import trained_in_pieces
from widelimit.papers.measures.observables import histogram_distance
from widelimit.papers.measures.spread import apart, local_exponent, shifted, times_larger, trained
from widelimit.papers.one_hidden_layer import claims, histograms
from widelimit.papers.residual.study import problem as residual_problem

KNOWN = {"threshold-40-high"}
"""Claims that do fail: docs/papers says why."""

KEYS = {"id", "statement", "source", "predicted", "measured", "error", "verdict"}


@pytest.mark.parametrize(
    ("measured", "verdict"),
    [
        (Measured(-0.52, 0.02), "holds"),
        (Measured(-0.10, 0.02), "fails"),
        (Measured(-0.40, 0.20), "not decided"),  # contains the prediction and its rival
        (Measured(-0.52, 0.02, 2), "not decided"),  # k = 31.6 with two degrees of freedom
        (Measured(float("nan"), 0.1), "not decided"),
    ],
)
def test_verdicts(measured, verdict):
    assert judged(-0.5, 0.0, measured) == verdict


def test_true_claims_rarely_fail():
    """5,000 claims that are true, five samples each: 5 failures are expected, 20 never happen.

    The number of failures is binomial with p = 1e-3; more than 20 has probability below 1e-6.
    """
    rng = np.random.default_rng(0)
    failed = sum(judged(0.0, 9.0, mean(rng.normal(size=5))) == "fails" for _ in range(5000))
    assert 0 < failed <= 20  # none has probability 0.7 %; the seed is fixed


@pytest.mark.parametrize("slope", [-0.5, -1.0])
def test_exponents_are_free_of_the_first_correction(slope):
    """a n^b (1 + 3/n), 200 samples a width with 10 % noise: within 4.5 standard errors of b."""
    rng, widths = np.random.default_rng(1), [16, 32, 64, 128, 256]
    samples = [n**slope * (1 + 3 / n) * (1 + 0.1 * rng.normal(size=200)) for n in widths]
    found = exponent(widths, samples)
    assert abs(found.value - slope) < 4.5 * found.error  # false alarm 7e-6
    assert found.error < 0.03
    plain = np.polyfit(np.log(widths), np.log([s.mean() for s in samples]), 1)[0]
    assert abs(plain - slope) > 4.5 * found.error  # what the correction is there for


def test_a_finding_tells_both_measurements():
    claim = Claim(
        "id",
        "words",
        "Theorem 1",
        1.0,
        0.0,
        lambda: Measured(1.01, 0.01),
        "halved",
        lambda: Measured(0.5, 0.01),
    )
    found = checked(claim, Entry(None))
    assert found.verdict == "holds"
    assert found.control_failed
    assert set(found.as_dict()) > KEYS
    assert found.as_dict()["control"]["wrong"] == "halved"


def test_an_unknown_paper_lists_the_known_ones():
    with pytest.raises(ProblemError, match=r"known are one-hidden-layer.*did you mean 'one-hidd"):
        find("one-hiden-layer")


def test_mnist_belongs_to_one_paper():
    with pytest.raises(ProblemError, match=r"--mnist.*only 'one-hidden-layer' has"):
        reproduce("deep", "smoke", mnist=True)


def test_histograms_of_mnist_are_those_of_a_data_set_by_name(monkeypatch):
    """With 30 grey images of 784 pixels in its place: the claim is measured on them."""
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (30, 784)), np.array(list("0123456789") * 3, object)
    monkeypatch.setattr("sklearn.datasets.fetch_openml", lambda name, **_: (images, labels))
    monkeypatch.setitem(histograms.SIZES, "quick", {"widths": [4, 8, 16, 32], "seeds": 20})
    claim = claims.claims("quick", "mnist")[-1]
    assert claim.id == "histograms-mnist"
    assert histograms.problem("mnist", "1/width", "quick").dataset.inputs.max() == 1
    assert judged(-0.5, 0.0, claim.measure()) != "fails"


def test_shifts_are_free_of_scatter():
    """Noise of size 1 around a shift of 0.1 at each of 50 outputs: the mean square is 0.01."""
    rng = np.random.default_rng(2)
    found = mean(shifted(0.1 + rng.normal(size=(20_000, 50))))
    assert abs(found.value - 0.01) < 4.5 * found.error  # false alarm 7e-6
    assert found.error < 0.002


def test_exponents_between_two_sizes():
    """Squares ∝ n^(−1): exactly −½ between 2 and 8, and locally at the last of three sizes."""
    squares = np.array([0.9, 1.0, 1.1])
    assert times_larger(squares, squares / 4, 4).value == pytest.approx(-0.5)
    found = local_exponent([1, 2, 4], [5.0, 2.0, 1.0])
    assert found == pytest.approx((-1.0, np.log2(2.5) - 1, np.inf))


def test_networks_that_are_cut():
    """Into one piece: those that `train` makes. Into many: a network nearer to its own limit."""
    whole = trained(residual_problem(), [[4, 2]], 20)[0]
    once, twice, four = (trained_in_pieces(residual_problem(), (4, 2), 20, k) for k in (1, 2, 4))
    np.testing.assert_array_equal(once, whole)
    halved = np.sqrt(apart(twice, four).mean() / apart(once, twice).mean())
    assert halved == pytest.approx(0.5, abs=0.1)  # Euler's error is of first order


def test_distance_of_histograms():
    """Two networks of two neurons at a threshold that parts them: (1 − ½)² for one of 33."""
    values = np.array([[0.0, 0.0], [0.0, 1.0]])
    found = histogram_distance(values, 0.0, 1.0)
    assert found == pytest.approx([32 / 33 / 4] * 2)


LONG = {*PAPERS} - {"deep", "random-features"}
"""Papers whose smoke takes ten seconds and more: the slow suite has it, and the quick effort."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in PAPERS]
)
def test_smoke(name):
    """No claim fails (false alarm 1e-3 each, seeds fixed); most are decided, and most controls."""
    findings = reproduce(name, "smoke")
    verdicts = {f.id: f.verdict for f in findings}
    assert "fails" not in verdicts.values(), verdicts
    assert list(verdicts.values()).count("holds") >= 0.6 * len(findings), verdicts
    assert sum(f.control_failed for f in findings) >= 0.8 * len(findings)
    json.dumps([f.as_dict() for f in findings])


@pytest.mark.slow
@pytest.mark.parametrize("name", PAPERS)
def test_quick(name):
    """At least 80 % of the claims are decided, none fails, and every control does."""
    findings = reproduce(name, "quick")
    for found in findings:
        print(f"\n{found.verdict:<12} {found.id:<22} {found.words()}", end="")
    verdicts = [f.verdict for f in findings]
    assert verdicts.count("not decided") <= 0.2 * len(findings)
    assert {f.id for f in findings if f.verdict == "fails"} <= KNOWN
    assert all(f.control_failed for f in findings)
