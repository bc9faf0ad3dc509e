"""Learning rules: what is done with the gradients, in steps (networks) and in the limit.

G is the mean-field gradient of the risk (multiplier × ∂R/∂θ; of a batch in networks), λ the weight
decay, ξ(t) the learning rate. A step of every rule is one tick of the clock, t = k ε; the limit is
ε → 0 with t fixed. Hidden-to-hidden weights enter the limit through their mean over what labels do
not tell, and the equations of that mean are closed under all these rules.

    descent     θ ← θ − ε ξ (G + λθ)
                dθ/dt = −ξ (G + λθ)
    noisy       θ ← θ − ε ξ (G + λθ) + √(2τξε) N(0, 1), independent numbers for all parameters
                dθ = −ξ (G + λθ) dt + √(2τξ) dB, a Brownian motion B for every neuron's labels
    heavy ball  b ← (1 − γε) b + G + λθ,  θ ← θ − ε² ξ b      (momentum 1 − γε, step ε² ξ)
                dm/dt = G + λθ − γ m,  dθ/dt = −ξ m            (m = ε b)
    Adam        m ← (1 − κ₁ε) m + κ₁ε g,  q ← (1 − κ₂ε) q + κ₂ε g²,  θ ← θ − ε ξ (m/(√q + δ) + λθ)
                dm/dt = κ₁ (G − m),  dq/dt = κ₂ (G² + Var_z(G_z)/b − q),
                dθ/dt = −ξ (m/(√q + δ) + λθ)
    RMSProp     Adam with g in place of m

All memories start at zero, without bias correction. "Slow moments": the averages run over a time of
order 1, over 1/ε steps. Fixed β as ε → 0 is another limit: for the heavy ball plain descent with
rate ξ/(1 − β); for Adam one that is not derived here (`finite_rules`).

Noisy SGD of temperature τ (mean-field Langevin: Mei, Montanari & Nguyen 2018, §5) has the limit
τ fixed as n → ∞ and ε → 0, clock t = kε. Its labels are (initial values, Brownian path). Hidden-
to-hidden weights follow their mean, without noise, plus independent Gaussian numbers of variance V,
dV/dt = −2ξλV + 2τξ, which average out. With a scale κ all ξ are ξ/κ², inside the root too.
"""

from typing import Annotated, ClassVar, Literal, NamedTuple

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array
from pydantic import BaseModel, ConfigDict, Field

from widelimit.problem.network.laws import Count, Number

Positive = Annotated[Number, Field(gt=0)]


class Push(NamedTuple):
    """What acts on one array of parameters: G, E of the batch's G² (0 if not needed), λθ, ξ.

    Rules of steps also ask for their δ, and how many steps were `taken` before.
    """

    gradient: Array
    squares: Array
    decay: Array
    rate: Array
    delta: ArrayLike = 0.0
    taken: ArrayLike = 0


Memory = tuple[Array, ...]


class LearningRule(BaseModel):
    """Descent, and what other rules are made from. Rules are constants of compiled code."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    memories: ClassVar[int] = 0
    """How many arrays of the parameters' size the rule carries along."""

    needs_squares: ClassVar[bool] = False
    """Whether it averages squares of gradients."""

    linear: ClassVar[bool] = True
    """Whether it is linear in the gradient: then the noise of SGD acts like that of descent."""

    noisy: ClassVar[bool] = False
    """Whether its steps have noise of their own, see `kick`."""

    finite: ClassVar[bool] = False
    """Whether it is one of steps alone: no flow is derived from it, see `finite_rules`."""

    def speed(self, push: Push, memory: Memory) -> tuple[Array, Memory]:
        """dθ/dt, and that of the memory."""
        return -push.rate * (push.gradient + push.decay), ()

    def step(self, size: Array, theta: Array, push: Push, memory: Memory) -> tuple[Array, Memory]:
        """θ and the memory after a step of size ε."""
        return theta + size * self.speed(push, memory)[0], ()

    def kick(self, rate: Array, size: ArrayLike, normal: Array) -> Array:
        """The noise of a step of size ε at learning rate ξ, made from standard normal numbers."""
        return jnp.zeros_like(normal)


class Langevin(LearningRule):
    """Noisy descent: √(2 τ ξ ε) N(0, 1) is added to every parameter at each step."""

    noisy: ClassVar[bool] = True

    temperature: Positive

    def kick(self, rate: Array, size: ArrayLike, normal: Array) -> Array:
        """√(2 τ ξ ε) times the normal numbers."""
        return jnp.sqrt(2 * self.temperature * rate * size) * normal


class HeavyBall(LearningRule):
    """Momentum 1 − friction·ε (Polyak): the limit is a damped motion of second order."""

    memories: ClassVar[int] = 1

    friction: Positive

    def speed(self, push: Push, memory: Memory) -> tuple[Array, Memory]:
        """dθ/dt, and that of the memory."""
        (m,) = memory
        return -push.rate * m, (push.gradient + push.decay - self.friction * m,)

    def step(self, size: Array, theta: Array, push: Push, memory: Memory) -> tuple[Array, Memory]:
        """θ and the memory after a step of size ε."""
        (m,) = memory
        m = (1 - self.friction * size) * m + size * (push.gradient + push.decay)
        return theta - size * push.rate * m, (m,)


class Adam(LearningRule):
    """Adam with slow moments, β_i = 1 − κ_i ε, κ = (`first`, `second`); `first` "none": RMSProp.

    `batch` is how many independently drawn points a gradient is of, "all" for the whole data.
    """

    memories: ClassVar[int] = 2
    needs_squares: ClassVar[bool] = True
    linear: ClassVar[bool] = False

    first: Positive | Literal["none"] = 10.0
    second: Positive = 1.0
    delta: Positive = 1e-3
    batch: Count | Literal["all"] = 1

    def speed(self, push: Push, memory: Memory) -> tuple[Array, Memory]:
        """dθ/dt, and that of the memory."""
        m, q = memory
        ahead = push.gradient if self.first == "none" else m
        rises = jnp.zeros_like(m) if self.first == "none" else self.first * (push.gradient - m)
        return self._moved(push, ahead, q), (rises, self.second * (push.squares - q))

    def step(self, size: Array, theta: Array, push: Push, memory: Memory) -> tuple[Array, Memory]:
        """θ and the memory after a step of size ε."""
        m, q = (
            kept + size * rise
            for kept, rise in zip(memory, self.speed(push, memory)[1], strict=True)
        )
        ahead = push.gradient if self.first == "none" else m
        return theta + size * self._moved(push, ahead, q), (m, q)

    def _moved(self, push: Push, ahead: Array, q: Array) -> Array:
        return -push.rate * (ahead / (jnp.sqrt(jnp.maximum(q, 0)) + self.delta) + push.decay)
