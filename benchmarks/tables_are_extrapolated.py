"""Claim: intervals of `extrapolate` and `transfer` are 95 % intervals.

Tables are simulated. Extrapolation: widths 32 … 256, E y = 0.3 + 2/n + C/n², n·Var = 0.01, normal;
of those tables that are not refused, how many intervals hold 0.3, with and without model error.
Transfer: widths 64 … 512, six rates, losses with a valley at log η* = log ½ + 20/n; how many
intervals hold η*(n) and η*(∞), and how many tables that settle are said not to.

    python benchmarks tables_are_extrapolated
"""

import numpy as np
import pandas as pd
from table import Row

from widelimit import transfer
from widelimit.runs.adequacy import judged
from widelimit.runs.line import Means

WIDTHS, TABLES = (32, 64, 128, 256), 400


def extrapolated(seeds: int, curved: float) -> tuple[float, float, float]:
    """Shares: of tables not refused; of intervals that hold, with the model error and without."""
    rng, told, held, bare = np.random.default_rng([seeds, int(abs(curved))]), 0, 0, 0
    for _ in range(TABLES):
        runs = [
            0.3 + 2 / n + curved / n**2 + rng.normal(size=seeds) * (0.01 / n) ** 0.5 for n in WIDTHS
        ]
        means = Means.of(WIDTHS, runs)
        if judged(means).adequate is False:
            continue
        c = means.combination()
        off, half = abs(float(means.estimate(c)) - 0.3), float(means.half_width(c))
        told, bare = told + 1, bare + (off < half)
        held += off < half + float(means.model_error())
    return told / TABLES, held / told, bare / told


def transferred(seeds: int, tables: int = 200) -> tuple[float, float, float]:
    """Shares: of intervals that hold η*(n), and η*(∞); of tables said not to settle."""
    held, infinite, refused = [], [], 0
    for number in range(tables):
        rng = np.random.default_rng([seeds, number])
        rows = [
            (n, e, s, 1 + 2 / n + 0.1 * (np.log(e / 0.5) - 20 / n) ** 2 + own / 50)
            for s, own in enumerate(rng.normal(size=seeds))
            for n in (64, 128, 256, 512)
            for e in (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
        ]
        frame = pd.DataFrame(rows, columns=["width", "learning_rate", "seed", "loss"])
        frame["loss"] += 0.1 * rng.normal(size=len(frame)) / frame["width"] ** 0.5
        found = transfer(frame)
        held += [own.low < 0.5 * np.exp(20 / own.width) < own.high for own in found.optima]
        infinite.append(found.infinite.low < 0.5 < found.infinite.high)
        refused += found.settles is False
    return float(np.mean(held)), float(np.mean(infinite)), refused / tables


def measure() -> list[Row]:
    """Both claims, by seeds."""
    rows = []
    for seeds in (3, 8, 30):
        for curved in (0.0, 10.0):
            told, held, bare = extrapolated(seeds, curved)
            rows.append(
                Row(
                    f"extrapolate, {seeds} seeds of 4 widths, C = {curved:g}",
                    "≥ 95 % of intervals hold",
                    f"{held:.1%} (without the model error {bare:.1%})",
                    f"{TABLES} tables, of which {told:.0%} were not refused",
                )
            )
    for seeds in (3, 5, 10, 30):
        own, infinite, refused = transferred(seeds)
        rows.append(
            Row(
                f"transfer, {seeds} seeds of 4 widths and 6 rates",
                "95 % of intervals hold; 2.5 % of settling tables refused",
                f"η*(n) {own:.0%}, η*(∞) {infinite:.0%}; refused {refused:.0%}",
                "200 tables",
            )
        )
    return rows
