"""What limits of neuronal embeddings come to, and how fast they lose risk.

Global convergence of Nguyen & Pham 2023 (§6 and §7) and of Pham & Nguyen 2021, its converse, and
the dissipation that both rest on. All of it is about limits: no networks are trained.
"""

from functools import cache

from widelimit.limit.solve import solved
from widelimit.papers.claims import Claim, Measured
from widelimit.papers.data import eight_points
from widelimit.papers.measures.dissipation import lost_over_dissipated
from widelimit.papers.measures.late_times import end_of, risk_by_speed, until_late
from widelimit.papers.neuronal_embedding.embedded import CORRELATED, INDEPENDENT, problem
from widelimit.results.trajectory import Trajectory

ONE_ATOM = {"law": "atoms", "points": [[1.0, 0.5]]}

ATOMS = {
    "input": {"law": "atoms", "points": [[1.0, 0.3], [-0.4, 0.8], [0.5, -1.2]]},
    "readout": {"law": "atoms", "points": [0.4, 1.0, 2.2]},
}
"""Laws for which the limit is a finite system, and its time steps are as exact as they can be."""

RATES = {"input": 0.5, "hidden_2": 2.0, "hidden_3": 0.0, "readout": 1.0}
"""Learning rates by name of parameter, for three hidden layers."""

SPEED_TIMES = [24.0, 48.0, 72.0, 96.0]
"""When risk and speed are held against each other: both fall to rounding soon after."""


def floor(depth: int, hidden: dict, diverse: bool) -> Measured:
    """Where the risk of the limit ends, in units of its start.

    If not `diverse`, the first layer is one frozen atom.
    """
    asked = problem(depth, hidden)
    if not diverse:
        laws = asked.as_dict()["network"]["initial"] | {"input": ONE_ATOM}
        frozen = {"learning_rates": {"input": 0.0}}
        asked = asked.with_changes(network={"initial": laws}, training=frozen)
    return end_of(until_late(asked, [32] * depth).dataset.risk.values)


def readout_speed(contradictory: bool) -> Measured:
    """The exponent of the risk in the readouts' largest speed, two hidden layers, three points.

    With few points the slowest mode is soon alone. A fourth point may contradict the first one.
    """
    table = eight_points()
    inputs, targets = table["inputs"][:3], table["targets"][:3]
    if contradictory:
        inputs, targets = [*inputs, inputs[0]], [*targets, targets[0] + 1]
    data = {"source": "table", "inputs": inputs, "targets": targets}
    asked = problem(2, INDEPENDENT, data=data, limit={"tolerance": 1e-5})
    return risk_by_speed(until_late(asked, [16, 16], SPEED_TIMES))


@cache
def rated() -> Trajectory:
    """Three hidden layers with a learning rate of its own for each kind of parameter."""
    hidden = [RATES["hidden_2"], RATES["hidden_3"]]
    rates = {"input": RATES["input"], "hidden": hidden, "readout": RATES["readout"]}
    laws = {"initial": {"hidden": INDEPENDENT, **ATOMS}}
    return solved(
        problem(
            3,
            INDEPENDENT,
            network=laws,
            observe={"times": 41},
            training={"learning_rates": rates},
        ),
        progress=False,
    )


def dissipation(rates_count: bool) -> Measured:
    """Loss of risk over what the speeds say is dissipated, with the rates or as if all were 1."""
    moving = {name: rate if rates_count else 1.0 for name, rate in RATES.items() if rate > 0}
    return lost_over_dissipated(rated(), moving)


def claims() -> list[Claim]:
    """The claims about limits alone."""
    return [
        _zero_loss(2, "§6, two layers", INDEPENDENT),
        _zero_loss(3, "Theorem 34; Pham & Nguyen 2021, Theorem 8", INDEPENDENT),
        _zero_loss(4, "Theorem 38, any depth", CORRELATED),
        Claim(
            "readout-speed",
            "3 weight layers: when the risk goes to 0, so does the readouts' "
            "largest speed, as its root (exponent of the risk in the speed)",
            "§6, converse",
            2.0,
            0.0,
            lambda: readout_speed(False),
            "two points contradict each other: the risk stays",
            lambda: readout_speed(True),
        ),
        Claim(
            "dissipation",
            "4 weight layers, rates ½, 2, 0, 1: the risk falls by the integral of "
            "Σ E|speed|²/ξ (ratio)",
            "§6: dℒ/dt = −Σ ξ_i E|E_Z Δ_i|²",
            1.0,
            0.5,
            lambda: dissipation(True),
            "the rates are left out (ξ = 1)",
            lambda: dissipation(False),
        ),
    ]


def _zero_loss(weight_layers: int, source: str, hidden: dict) -> Claim:
    return Claim(
        f"zero-loss-{weight_layers}",
        f"{weight_layers} weight layers: the risk of the limit "
        "goes to its infimum, 0 (its end in units of its start)",
        source,
        0.0,
        0.01,
        lambda: floor(weight_layers - 1, hidden, True),
        "the first layer is one frozen atom: no diversity",
        lambda: floor(weight_layers - 1, hidden, False),
    )
