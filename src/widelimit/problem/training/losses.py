"""Losses ℓ(f, y) of one data point, by name; an output activation is a part of them.

A problem file gives a name, or a table with its numbers: `{ loss = "huber", width = 0.5 }`. The
outputs that a limit and networks tell are always f itself, before any output activation.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_serializer

from widelimit.problem.network.activations import ACTIVATIONS, is_kinked, known_activation
from widelimit.problem.network.laws import Number

Vector = Float[Array, " channel"]
Scalar = Float[Array, ""]

ROUNDING = 1e-9
"""Class probabilities sum to 1 up to this."""


class _Loss(BaseModel):
    """ℓ(f, y), summed over outputs. Losses are compiled code's constants, hence hashable."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __call__(self, f: Vector, y: Vector) -> Scalar:
        """ℓ(f, y) of one data point."""
        raise NotImplementedError

    def mismatches(self, targets: np.ndarray) -> list[str]:
        """Why targets `(point, channel)` do not fit, each with its place."""
        return []

    @property
    def smooth(self) -> bool:
        """Whether the loss has a second derivative everywhere, as fluctuations ask for."""
        return True

    @property
    def convex(self) -> bool:
        """Whether it is known to be convex in f."""
        return False

    @model_serializer(mode="wrap")
    def _short(self, whole: Any) -> Any:
        """The name alone where nothing else was said."""
        plain = type(self).model_construct()
        return getattr(self, "loss", None) if self == plain else whole(self)


class _OfResidual(_Loss):
    """A loss of the difference between o(f) and y, o an output activation."""

    output_activation: Annotated[str, BeforeValidator(known_activation)] = "identity"

    def residual(self, f: Vector, y: Vector) -> Vector:
        """o(f) − y."""
        return ACTIVATIONS[self.output_activation](f) - y

    @property
    def convex(self) -> bool:
        """Of f itself."""
        return self.output_activation == "identity"

    @property
    def smooth(self) -> bool:
        """Unless the output activation has a slope that jumps."""
        return not is_kinked(self.output_activation)


class Squared(_OfResidual):
    """ℓ = ½|o(f) − y|²."""

    loss: Literal["squared"] = "squared"

    def __call__(self, f: Vector, y: Vector) -> Scalar:
        """ℓ(f, y) of one data point."""
        return 0.5 * jnp.sum(self.residual(f, y) ** 2)


class Huber(_OfResidual):
    """ℓ = ½r² up to |r| = width, then width·(|r| − width/2), r = o(f) − y of each output."""

    loss: Literal["huber"] = "huber"
    width: Annotated[Number, Field(gt=0)] = 1.0

    def __call__(self, f: Vector, y: Vector) -> Scalar:
        """ℓ(f, y) of one data point."""
        r = self.residual(f, y)
        near = jnp.clip(r, -self.width, self.width)
        return jnp.sum(near * (r - 0.5 * near))

    @property
    def smooth(self) -> bool:
        """Its second derivative jumps at |r| = width."""
        return False


class Logistic(_Loss):
    """ℓ = log(1 + e^f) − y f, the cross-entropy of σ(f); classes 0 and 1, each output its own."""

    loss: Literal["logistic"] = "logistic"

    def __call__(self, f: Vector, y: Vector) -> Scalar:
        """ℓ(f, y) of one data point."""
        return jnp.sum(jax.nn.softplus(f) - y * f)

    @property
    def convex(self) -> bool:
        """It is."""
        return True

    def mismatches(self, targets: np.ndarray) -> list[str]:
        """Targets are classes 0 and 1, or probabilities."""
        outside = np.flatnonzero(((targets < 0) | (targets > 1)).any(axis=1))
        if not len(outside):
            return []
        found = targets[outside[0]].tolist()
        return [
            f"training.loss: 'logistic' needs targets from 0 to 1 (classes, or the probability of "
            f"class 1); point {outside[0]} has {found[0] if len(found) == 1 else found}"
        ]


class Softmax(_Loss):
    """ℓ = log Σ_k e^(f_k) − y·f, the cross-entropy of softmax(f); y one-hot, or probabilities."""

    loss: Literal["softmax"] = "softmax"

    def __call__(self, f: Vector, y: Vector) -> Scalar:
        """ℓ(f, y) of one data point."""
        return jax.nn.logsumexp(f) - y @ f

    @property
    def convex(self) -> bool:
        """It is."""
        return True

    def mismatches(self, targets: np.ndarray) -> list[str]:
        """Targets are rows of probabilities, of two classes at least."""
        if targets.shape[1] == 1:
            return [
                "training.loss: 'softmax' needs one output a class, and the data have one column "
                "of targets; with data.classes = true it holds class labels"
            ]
        off = (targets < 0).any(axis=1) | (np.abs(targets.sum(axis=1) - 1) > ROUNDING)
        if not off.any():
            return []
        row = int(np.argmax(off))
        return [
            "training.loss: 'softmax' needs targets that are class probabilities (one-hot rows, "
            f"or rows that sum to 1); point {row} has {targets[row].tolist()}"
        ]


class Own(_Loss):
    """A function of one's own (in Python only): `function(f, y)`, smooth, of two vectors.

    >>> import jax.numpy as jnp
    >>> float(Own(function=lambda f, y: jnp.sum(jnp.cosh(f - y) - 1))(jnp.zeros(1), jnp.zeros(1)))
    0.0
    """

    loss: Literal["own"] = "own"
    function: Callable[[Vector, Vector], Scalar]

    def __call__(self, f: Vector, y: Vector) -> Scalar:
        """ℓ(f, y) of one data point."""
        return self.function(f, y)


NAMES = ("squared", "huber", "logistic", "softmax")
"""What a problem file may ask for."""


def _written_out(value: Any) -> Any:
    """A name stands for its table, a function for a loss of one's own."""
    if isinstance(value, str):
        if value not in NAMES:
            raise ValueError(f"found {value!r}; the known losses are {', '.join(NAMES)}")
        return {"loss": value}
    if isinstance(value, Mapping | _Loss):
        return value
    if callable(value):
        return {"loss": "own", "function": value}
    raise ValueError(f"found {value!r}; must be the name of a loss, or a table with the key loss")


Loss = Annotated[
    Annotated[Squared | Huber | Logistic | Softmax | Own, Field(discriminator="loss")],
    BeforeValidator(_written_out),
]
"""Any loss, told apart by its key `loss`."""
