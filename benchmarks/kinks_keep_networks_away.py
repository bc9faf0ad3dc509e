"""Claim: where fields start on a kink, networks stay away from the flow with one φ'(0).

Prints the spread over seeds and the offset of the mean at the end, by width, of problems that are
refused (solved here in spite of it) and of one that is not although its fields are on kinks.

    python benchmarks/kinks_keep_networks_away.py [name …]      a few minutes
"""

import sys
from unittest.mock import patch

from widelimit import Problem, compare, solve, train

CENTRED = {"law": "normal", "mean": 0.0, "std": 1.0}
HALF = [{"law": "atoms", "points": [0.0]}, {"law": "atoms", "points": [0.0, 1.0]}]
NETWORKS = {
    "half the biases": {
        "activations": ["relu", "relu"],
        "biases": True,
        "initial": {"hidden": CENTRED, "bias": HALF},
    },
    "tanh below relu": {"activations": ["tanh", "relu"]},
    "equal weights": {
        "activations": ["tanh", "relu"],
        "initial": {"hidden": {"law": "atoms", "points": [0.5]}},
    },
    "three layers (not refused)": {
        "activations": ["relu"] * 3,
        "initial": {"hidden": CENTRED},
    },
}


def problem(name: str) -> Problem:
    """Four points, gradient descent to t = 4."""
    return Problem.from_dict(
        {
            "title": name,
            "network": NETWORKS[name],
            "data": {
                "source": "table",
                "inputs": [[1.0, 0.5], [-1.0, 0.3], [0.2, -1.0], [-0.5, -0.8]],
                "targets": [1.0, -0.5, 0.3, 0.8],
            },
            "training": {"horizon": 4.0},
            "limit": {"tolerance": 1e-2},
            "networks": {"widths": [32, 128, 512], "seeds": 8, "method": "gd", "step": 0.05},
            "observe": {"times": 3},
        }
    )


def main(words: list[str]) -> None:
    """One line for each width."""
    for name in NETWORKS:
        if words and not any(word in name for word in words):
            continue
        asked = problem(name)
        with patch("widelimit.limit.solve.refuse_kinks"):
            limit = solve(asked, progress=False)
        found = compare(limit, train(asked, progress=False))
        print(f"{name}: limit ± {limit.dataset.attrs['error']:.1e}, closes: {found.closes}")
        for row, width in enumerate(found.widths):
            print(
                f"  width {width:>4}: spread {found.spread[-1][row]:.3f} ± "
                f"{found.spread_se[-1][row]:.3f}, offset {found.offset[-1][row]:.3f} ± "
                f"{found.offset_se[-1][row]:.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main(sys.argv[1:])
