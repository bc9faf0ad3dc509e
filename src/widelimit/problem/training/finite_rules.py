"""Learning rules of networks whose steps do not shrink: what frameworks train with.

No flow is derived from them: at fixed β, as ε → 0, Adam is another rule (it follows the sign of
the gradient). Networks are trained with them, and their limit is measured.

    Adam    m ← β₁ m + (1 − β₁) G,  q ← β₂ q + (1 − β₂) G²,
            θ ← θ − ε ξ ((m/(1 − β₁^k)) / (√(q/(1 − β₂^k)) + δ) + λθ)   in step k = 1, 2, …
    signs   θ ← θ − ε ξ (sign G + λθ)

(Kingma & Ba 2015; the decay is AdamW's, Loshchilov & Hutter 2019.) G is the mean-field gradient:
of order 1 at any width, so that with ξ of order 1 every parameter moves by a number of order 1 in a
step: these are the rates of μP for Adam (equations.md §1, mup.md §2), 1/n for hidden weights in the
usual notation.
"""

from typing import Annotated, Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array
from pydantic import BeforeValidator, Field

from widelimit.problem.network.laws import Number
from widelimit.problem.training.kinds import PerKind, Rates, alike
from widelimit.problem.training.learning_rules import LearningRule, Memory, Push
from widelimit.problem.training.schedules import Constant, Schedule

Beta = Annotated[Number, Field(ge=0, lt=1)]


def _for_all(value: Any) -> Any:
    """A table, or one number for all parameters."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return alike(Epsilon, value) if number else value


class Epsilon(PerKind):
    """Adam's δ for each kind of parameter."""

    input: Schedule = Constant(value=1e-8)
    hidden: Rates = (Constant(value=1e-8),)
    readout: Schedule = Constant(value=1e-8)


class SignDescent(LearningRule):
    """Every parameter moves by ε ξ against the sign of its gradient."""

    linear: ClassVar[bool] = False
    finite: ClassVar[bool] = True

    def speed(self, push: Push, memory: Memory) -> tuple[Array, Memory]:
        """None."""
        raise TypeError("sign descent has no flow")

    def step(self, size: Array, theta: Array, push: Push, memory: Memory) -> tuple[Array, Memory]:
        """θ and the memory after a step of size ε."""
        return theta - size * push.rate * (jnp.sign(push.gradient) + push.decay), ()


class AdamSteps(LearningRule):
    """Adam with moments over 1/(1 − β) steps, as frameworks have it; δ is `epsilon`.

    δ stands beside the mean-field gradient; kinds of parameters may have their own.
    """

    memories: ClassVar[int] = 2
    needs_squares: ClassVar[bool] = True
    linear: ClassVar[bool] = False
    finite: ClassVar[bool] = True

    betas: tuple[Beta, Beta] = (0.9, 0.999)
    epsilon: Annotated[Epsilon, BeforeValidator(_for_all)] = Epsilon()

    def speed(self, push: Push, memory: Memory) -> tuple[Array, Memory]:
        """None."""
        raise TypeError("Adam at fixed β has no flow")

    def step(self, size: Array, theta: Array, push: Push, memory: Memory) -> tuple[Array, Memory]:
        """θ and the memory after a step of size ε."""
        ahead, squares = (
            beta * kept + (1 - beta) * new
            for beta, kept, new in zip(
                self.betas, memory, (push.gradient, push.squares), strict=True
            )
        )
        m, q = (
            moment / (1 - beta ** (push.taken + 1))
            for beta, moment in zip(self.betas, (ahead, squares), strict=True)
        )
        moved = m / (jnp.sqrt(q) + push.delta) + push.decay
        return theta - size * push.rate * moved, (ahead, squares)
