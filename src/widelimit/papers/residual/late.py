"""Late times: residual networks follow their limit for good, layered ones of equal depth leave it.

Neurons of a middle layer are alike in the limit of three and more hidden layers, networks' are not,
and what tells them apart grows until it is everything: at four layers, from time 20 or so on, wider
networks are no nearer to the limit. Units of a residual network keep their own labels. The problem
is one of those whose times are predicted in `benchmarks/validity_covers.py`.
"""

from typing import Any

import numpy as np

from widelimit.limit.solve import solved
from widelimit.networks.train import train
from widelimit.papers.claims import Claim, Measured
from widelimit.papers.measures.spread import apart, times_larger
from widelimit.papers.residual.study import NORMAL
from widelimit.problem.problem import Problem

BLOCKS, TIME, WIDTHS = 4, 40.0, (32, 128)

RESIDUAL = {"architecture": "residual", "depth": BLOCKS, "initial": NORMAL}
LAYERED = {"activations": ["tanh"] * BLOCKS}


def nearness(network: dict[str, Any], shapes: dict[str, Any], seeds: int) -> Measured:
    """The exponent in the width of networks' distance from their limit, late."""
    inputs, targets = (np.random.default_rng(k).normal(size=(8, 2)).round(2) for k in (2, 5))
    table = {"inputs": inputs.tolist(), "targets": np.tanh(targets).round(3).tolist()}
    asked = Problem.from_dict(
        {
            "title": "late times",
            "network": network,
            "data": {"source": "table", **table},
            "training": {"horizon": TIME},
            "observe": {"times": [TIME]},
            "limit": {"tolerance": 5e-3},
            "networks": {**shapes, "seeds": seeds, "method": "flow"},
        }
    )
    limit, networks = (
        run(asked, progress=False).dataset.output.isel(time=-1).values for run in (solved, train)
    )
    narrow, wide = (apart(own.reshape(seeds, -1), limit.ravel()) for own in networks)
    return times_larger(narrow, wide, WIDTHS[1] // WIDTHS[0])


def claims(seeds: int) -> list[Claim]:
    """The claim, with so many networks of each width; a quarter of them in its control."""
    shapes = {"shapes": [[BLOCKS, width] for width in WIDTHS]}
    return [
        Claim(
            "no-collapse",
            "at time 40 networks of four blocks are as near to their limit as their width says "
            "(exponent in M)",
            "Chizat 2025, Theorem 1, at any time",
            -0.5,
            0.0,
            lambda: nearness(RESIDUAL, shapes, seeds),
            "four hidden layers, which have left their limit by then",
            lambda: nearness(LAYERED, {"widths": list(WIDTHS)}, seeds // 4),
        )
    ]
