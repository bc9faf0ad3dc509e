"""Claims on transformers: rates in heads and depth, the number of tokens, the gradient flow.

    h ← h + (1/(LH)) Σ_i softmax(hQ_i (hK_i)ᵀ/√d) h V_i O_iᵀ,   then a block of perceptrons

arXiv:2605.11059: networks of L blocks of H heads are within 1/L + L^(−1/3) H^(−1/2) of their limit
under AdamW, whatever the number of tokens. 2605.17660: the limit is a conditional Wasserstein
gradient flow. A bound is no rate: under gradient descent units average as they do in all residual
networks, and networks scatter by (LH)^(−1/2), which is within the bound.
"""

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np

from widelimit.limit.solve import solved
from widelimit.papers import Effort
from widelimit.papers.claims import Claim, Measured, exponent
from widelimit.papers.measures.cut import trained_in_pieces
from widelimit.papers.measures.dissipation import lost_over_dissipated
from widelimit.papers.measures.spread import scattered, shifted, times_larger, trained
from widelimit.papers.transformers.plain import off_the_gradient
from widelimit.papers.transformers.study import ATOMS, problem
from widelimit.results.trajectory import Trajectory

DEPTHS = [4, 8, 16, 32, 64]
HEADS = [4, 8, 16, 32]
CUT = [8, 16, 32, 64]
"""Depths at which Euler's error is looked at, one head a block."""

SEEDS: dict[Effort, int] = {"smoke": 200, "quick": 1500, "full": 4000}

TOKENS = [3, 12]

RATES = {
    "attention_query": 0.5,
    "attention_key": 2.0,
    "attention_value": 0.7,
    "attention_output": 1.5,
    "perceptron_input": 1.0,
    "perceptron_readout": 0.6,
}
"""Learning rates by name of parameter."""

SMOKE = ["conditional-gradient", "causal-gradient", "dissipation"]

BOUND = "arXiv:2605.11059, 1/L + L^(−1/3) H^(−1/2)"
FLOW = "arXiv:2605.17660"


class Study:
    """What several claims look at, trained once."""

    def __init__(self, effort: Effort):
        self.seeds = SEEDS[effort]

    @cached_property
    def deep(self) -> list[np.ndarray]:
        """Outputs of networks of two heads a block, by depth."""
        return trained(problem(), [[depth, 2] for depth in DEPTHS], self.seeds)

    @cached_property
    def wide(self) -> list[np.ndarray]:
        """Outputs of networks of four blocks, by heads."""
        return trained(problem(), [[4, heads] for heads in HEADS], self.seeds // 2)

    @cached_property
    def moved(self) -> list[np.ndarray]:
        """f, less that of the same networks with every block cut in two, by depth."""
        count = self.seeds // 4
        whole, halved = (
            [trained_in_pieces(problem(), (depth, 1), count, k) for depth in CUT] for k in (1, 2)
        )
        return [f - g for f, g in zip(whole, halved, strict=True)]

    def in_tokens(self, scale: Callable[[int], float]) -> Measured:
        """The exponent in the number of tokens of the scatter in units of the outputs' size."""
        found = []
        for tokens in TOKENS:
            asked = problem(tokens, network={"residual_scale": scale(tokens)})
            f = trained(asked, [[4, 4]], self.seeds)[0]
            found.append(scattered(f) / (f.mean(axis=0) ** 2).mean())
        return times_larger(found[0], found[1], TOKENS[1] / TOKENS[0])

    @cached_property
    def rated(self) -> Trajectory:
        """A limit in which each kind of parameter moves at its own rate, of few kinds of units."""
        rates = {name.split("_")[1]: rate for name, rate in RATES.items()}
        asked = problem(
            network={"depth": 2, "initial": ATOMS},
            training={"learning_rates": rates},
            limit={"nodes": [32, 32]},
            observe={"times": 41},
        )
        return solved(asked, progress=False)


def claims(effort: Effort) -> list[Claim]:
    """Everything that is checked; the smoke form has what is about one gradient."""
    study = Study(effort)
    everything = [*_gradient(study), *_scatter(study), *_euler(study), *_tokens(study)]
    return [c for c in everything if effort != "smoke" or c.id in SMOKE]


def _gradient(study: Study) -> list[Claim]:
    def claim(name: str, causal: bool, of: str) -> Claim:
        return Claim(
            name,
            f"{of}: the conditional Wasserstein gradient at every unit is that of the risk by "
            "automatic differentiation, over what the unit weighs (largest relative difference)",
            FLOW,
            0.0,
            0.1,
            lambda: off_the_gradient(causal, detached=False),
            "no way back through the softmax",
            lambda: off_the_gradient(causal, detached=True),
        )

    def dissipation(**wrong: float) -> Measured:
        return lost_over_dissipated(study.rated, RATES | wrong)

    return [
        claim("conditional-gradient", False, "all tokens seen"),
        claim("causal-gradient", True, "tokens up to one's own seen"),
        Claim(
            "dissipation",
            "the risk falls by the integral of Σ E|∂_t θ|²/ξ over depths and units (ratio)",
            FLOW,
            1.0,
            0.5,
            dissipation,
            "the heads' own terms for values are left out",
            lambda: dissipation(attention_value=0.0),
        ),
    ]


def _scatter(study: Study) -> list[Claim]:
    def of(sizes: Sequence[int], outputs: Sequence[np.ndarray]) -> Measured:
        return exponent(sizes, [scattered(f) for f in outputs], 0.5)

    def alike(sizes: Sequence[int], outputs: Sequence[np.ndarray]) -> Measured:
        return of(sizes, np.array_split(outputs[0], len(sizes)))

    return [
        Claim(
            "scatter-in-depth",
            "gradient descent: networks scatter ∝ L^(−1/2), within the bound for AdamW",
            BOUND,
            -0.5,
            -1 / 3,
            lambda: of(DEPTHS, study.deep),
            "networks of four blocks in place of deeper ones",
            lambda: alike(DEPTHS, study.deep),
        ),
        Claim(
            "scatter-in-heads",
            "… and ∝ H^(−1/2)",
            BOUND,
            -0.5,
            0.0,
            lambda: of(HEADS, study.wide),
            "networks of four heads in place of those with more",
            lambda: alike(HEADS, study.wide),
        ),
    ]


def _euler(study: Study) -> list[Claim]:
    return [
        Claim(
            "euler-in-depth",
            "the mean of networks less that of the same ones with all blocks cut, Euler's error, "
            "is ∝ L^(−1)",
            BOUND,
            -1.0,
            -0.5,
            lambda: exponent(CUT, [shifted(d) for d in study.moved], 0.5),
            "scatter in place of Euler's error",
            lambda: exponent(DEPTHS, [scattered(f) for f in study.deep], 0.5),
        )
    ]


def _tokens(study: Study) -> list[Claim]:
    return [
        Claim(
            "tokens",
            "the scatter in units of the outputs does not depend on the number of tokens "
            "(exponent between 3 and 12, evenly on the same circles)",
            BOUND,
            0.0,
            0.5,
            lambda: study.in_tokens(lambda _: 1.0),
            "shares of tokens sum to √T in place of 1",
            lambda: study.in_tokens(lambda tokens: float(np.sqrt(tokens))),
        )
    ]
