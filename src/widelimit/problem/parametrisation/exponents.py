"""The same finite network in other parametrisations: which multiplier and which rate go where.

A layer computes with the effective weight W = n^(−a) w, its entries w start with standard
deviation σ n^(−b), and SGD moves them with learning rate η n^(−c), n being the width (all hidden
layers alike; W_1 has a finite fan-in, and its σ is what the user's framework starts with, 1/√d
say). What the network computes and how it learns depends on W alone: on its start, σ n^(−a−b),
and on the rate at which it moves, η n^(−c−2a).

| exponents (a, b, c) | input | hidden | readout |
|---|---|---|---|
| standard | 0, 0, 0 | 0, ½, 0 | 0, ½, 0 |
| ntk (neural tangent kernel) | 0, 0, 0 | ½, 0, 0 | ½, 0, 0 |
| mup (maximal update, SGD; Yang & Hu 2021) | 0, 0, −1 | 0, ½, 0 | 0, 1, 1 |
| mean field (1/n, "integrable"; this library) | 0, 0, −1 | 1, 0, −2 | 1, 0, −1 |

In the mean field η is the step ε times ξ, and n^(−c) is what a gradient is multiplied with: the
number of parameters that are averaged. With one hidden layer mup and the mean field are the same
network. From two on, their weights move at the same rates, but those between hidden layers start
as n^(−1/2) N(0, σ²) in mup and as 1/n times numbers of order 1 in the mean field: other limits,
although both learn features. Much of the literature calls mup "mean field". A mup network is one
of this library's with the hidden law N(0, σ² n), a law that depends on the width and is not
replaced by its mean: its limit has no closed flow, and is measured (`limit.measured`).
"""

from typing import Any, Literal, NamedTuple

Name = Literal["standard", "ntk", "mup", "mean field"]


class Exponents(NamedTuple):
    """How one kind of weights goes with the width: W = n^(−a) w, w ~ σ n^(−b), rate η n^(−c)."""

    multiplier: float
    start: float
    rate: float

    @property
    def effective_start(self) -> float:
        """W starts with σ n to minus this."""
        return self.multiplier + self.start

    @property
    def effective_rate(self) -> float:
        """W moves with η n to minus this."""
        return self.rate + 2 * self.multiplier


KINDS = ("input", "hidden", "readout")

EXPONENTS: dict[str, dict[str, Exponents]] = {
    name: dict(zip(KINDS, (Exponents(*map(float, row)) for row in rows), strict=True))
    for name, rows in {
        "standard": [(0, 0, 0), (0, 0.5, 0), (0, 0.5, 0)],
        "ntk": [(0, 0, 0), (0.5, 0, 0), (0.5, 0, 0)],
        "mup": [(0, 0, -1), (0, 0.5, 0), (0, 1, 1)],
        "mean field": [(0, 0, -1), (1, 0, -2), (1, 0, -1)],
    }.items()
}
"""The table above."""


def factors(source: Name, target: Name, width: int) -> dict[str, tuple[float, float]]:
    """What weights and learning rates of `source` are multiplied with to be those of `target`.

    For each kind of weights: w_target = first · w_source, rate_target = second · rate_source give
    the same outputs before and after every step of SGD.

    >>> factors("ntk", "standard", 100)["readout"]
    (0.1, 0.01)
    """
    found = {}
    for kind in KINDS:
        old, new = (EXPONENTS[name][kind].multiplier for name in (source, target))
        found[kind] = width ** (new - old), width ** (2 * (new - old))
    return found


def sections(
    source: Name,
    width: int,
    depth: int,
    *,
    std: tuple[float, float, float] = (1.0, 1.0, 1.0),
    rate: float = 1.0,
) -> dict[str, dict[str, Any]]:
    """`[network.initial]`, `[training.learning_rates]` and the step of a network of one width.

    The network has `depth` hidden layers of this width, all weights centred normal with σ = `std`
    (input, hidden, readout) and learning rate η = `rate` in the parametrisation `source`. The
    problem's networks of this width are that network, in law and step by step; its limit is that
    of widening it in the mean-field way from there.

    >>> sections("ntk", 100, 1)["initial"]["readout"]
    {'law': 'normal', 'mean': 0.0, 'std': 10.0}
    """
    laws, rates, step = {}, {}, 1.0 / width
    for kind, sigma in zip(KINDS, std, strict=True):
        own, ours = EXPONENTS[source][kind], EXPONENTS["mean field"][kind]
        size = sigma * width ** (ours.multiplier - own.effective_start)
        laws[kind] = {"law": "normal", "mean": 0.0, "std": size}
        rates[kind] = rate / step * width ** (ours.effective_rate - own.effective_rate)
    if depth == 1:
        del laws["hidden"], rates["hidden"]
    return {"initial": laws, "learning_rates": rates, "networks": {"widths": [width], "step": step}}
