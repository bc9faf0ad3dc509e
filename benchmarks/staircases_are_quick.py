"""Claims: a staircase in infinitely many dimensions is solved in a second, and networks agree.

x1 + x1 x2 + x1 x2 x3 learned by one hidden layer with biases to t = 8, tolerance 1e-2. Times are
warm. Networks: two of width 1,000 in 100 dimensions, weights N(0, 1/100), SGD in batches of 20;
their risk is measured on a sample whose error they share with each other, not with the limit.
"""

from table import Row, lines
from timing import best

from widelimit import Problem, solve, train

TIMES = [2.0, 4.0, 6.0, 8.0]


def staircase(law: str, dimension: int | str, std: float, **sections: dict) -> Problem:
    """The problem in so many dimensions."""
    normal = {"law": "normal", "mean": 0.0, "std": 1.0}
    initial = {"input": normal | {"std": std}, "bias": normal, "readout": normal}
    return Problem.from_dict(
        {
            "network": {"activations": ["tanh"], "biases": True, "initial": initial},
            "data": {
                "source": "population",
                "inputs": {"law": law, "dimension": dimension},
                "target": {"formula": "x1 + x1*x2 + x1*x2*x3"},
            },
            "training": {"horizon": TIMES[-1]},
            "observe": {"times": TIMES},
            **sections,
        }
    )


def measure() -> list[Row]:
    """How long each law takes, and what networks have learned at the same times."""
    rows = []
    for law in ("hypercube", "gaussian"):
        problem = staircase(law, "inf", 1.0)
        seconds = best(lambda p=problem: solve(p, progress=False), 1)
        d = solve(problem, progress=False).dataset
        settings = {"widths": [1000], "seeds": 2, "batch": 20}
        networks = train(staircase(law, 100, 0.1, networks=settings), progress=False).dataset
        risks = [", ".join(f"{r:.3f}" for r in own) for own in networks.risk.values[0]]
        limit = ", ".join(f"{r:.3f}" for r in d.risk.values)
        how = f"risks {limit}; of networks at d = 100 {' and '.join(risks)} (± sample "
        how += f"{float(networks.risk_error.max()):.2f}); error {d.attrs['error']:.1e}"
        rows.append(Row(f"staircase at d = ∞, {law}", "≤ 1 s", f"{seconds:.2f} s", how))
    return rows


if __name__ == "__main__":
    print(lines(measure()))
