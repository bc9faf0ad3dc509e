"""Best learning rates over widths, where they are known; and what is refused in words."""

import json

import numpy as np
import pandas as pd
import pytest

from widelimit import ProblemError, transfer
from widelimit.command.cli import main
from widelimit.runs.optimum import valley

RATES = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)

# microsoft/mup#66: a GPT-2-like model, one run each
PUBLISHED = """learning_rate,width,loss
0.00390625,96,4.1291
0.001953125,96,4.1184
0.0009765625,96,4.1627
0.00048828125,96,4.2398
0.00390625,384,3.4713
0.001953125,384,3.4041
0.0009765625,384,3.3809
0.00048828125,384,3.3776
0.000244140625,384,3.4135
0.00390625,768,nan
0.0009765625,768,3.1226
0.00048828125,768,3.1009
0.000244140625,768,3.1074
"""


def table(drift=20.0, seeds=8, widths=(64, 128, 256, 512), best=0.5, noise=0.1):
    """Losses 1 + 2/n + 0.1 (log η − log η*(n))², log η*(n) = log best + drift/n, and noise.

    Seeds share a part of the noise over rates and widths, which moves no best rate.
    """
    rng = np.random.default_rng(1)
    rows = [
        (n, e, s, 1 + 2 / n + 0.1 * (np.log(e / best) - drift / n) ** 2 + own / 50)
        for s, own in enumerate(rng.normal(size=seeds))
        for n in widths
        for e in RATES
    ]
    frame = pd.DataFrame(rows, columns=["width", "learning_rate", "seed", "loss"])
    return frame.assign(loss=frame.loss + noise * rng.normal(size=len(frame)) / frame.width)


def test_best_rates_are_found_with_their_errors():
    """A right interval misses in one of 20 tables; five of them in one table, all hold here."""
    found = transfer(table())
    for own in found.optima:
        assert own.low < 0.5 * np.exp(20 / own.width) < own.high
        truth = 0.1 * (20 / own.width) ** 2
        assert own.lost_low * 0.9 < truth < own.lost_high * 1.1
    assert found.infinite.low < 0.5 < found.infinite.high
    assert found.settles is True
    assert found.drift[1] < 20 < found.drift[2]
    assert found.width_for["20%"] == pytest.approx(20 / np.log(1.2), rel=0.1)


def test_rates_that_do_not_settle_are_seen():
    """log η* falls by as much with every doubling: no line in 1/n."""
    frame = pd.concat(
        [table(drift=0, widths=(n,), best=0.5 * (64 / n) ** 0.5) for n in (64, 128, 256, 512)]
    )
    found = transfer(frame)
    assert found.settles is False
    assert not found.met


def test_valleys_are_parabolas():
    x = np.log(RATES)
    found = valley(x, 2 + 0.3 * (x - 0.1) ** 2)
    assert found is not None
    assert found.log_rate == pytest.approx(0.1)
    assert found.lost(0.6) == pytest.approx(0.3 * 0.25)
    assert valley(x, -(x**2)) is None


def test_published_rates_are_answered(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text(PUBLISHED)
    found = transfer(path)
    by_width = {own.width: own for own in found.optima}
    for width, low, high in ((96, 2**-9.5, 2**-8), (384, 2**-11, 2**-10), (768, 2**-12, 2**-11)):
        assert low < by_width[width].rate < high
        assert "fewer than 3 seeds" in by_width[width].why
    assert found.settles is None
    assert np.isnan(found.infinite.low)


def test_what_is_not_known_has_reasons():
    edge = transfer(table().query("learning_rate > 0.5"))
    assert "is the best: try smaller ones" in edge.optima[-1].why
    assert "needs η* of at least 3 widths" in edge.infinite.why
    frame = table()
    frame.loc[frame.width == 64, "loss"] = np.nan
    assert transfer(frame).optima[0].why == "all of its runs diverged"
    large = table()
    large.loc[large.learning_rate > 1, "loss"] = np.nan
    assert transfer(large).infinite.rate == pytest.approx(0.5, rel=0.1)
    for wrong, said in (
        (
            table().query("learning_rate == 0.1").drop(columns="learning_rate"),
            "column 'learning_rate' is missing",
        ),
        (table().assign(other=1.0), "found the metrics loss, other; name the one that counts"),
        (table().query("learning_rate < 0.3"), "needs at least 3 learning rates, found 2"),
    ):
        with pytest.raises(ProblemError, match=said):
            transfer(wrong)


def test_command_writes_files_and_page(tmp_path, capsys):
    path, run = tmp_path / "runs.csv", tmp_path / "run"
    table().to_csv(path, index=False)
    with pytest.raises(SystemExit, match="0"):
        main(["transfer", str(path), "-o", str(run), "--json"])
    said = json.loads(capsys.readouterr().out)
    held = json.loads((run / "transfer.json").read_text())
    assert held["infinite"] == said["infinite"]
    assert held["optima"][0]["width"] == 64
    assert "<svg" in (run / "transfer.html").read_text()
