"""A planned width: what brings networks within an RMS distance of their limit."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Choice:
    """A width that reaches the target with batches of `batch` points and steps of size `step`.

    Of residual networks `widths` are depth and width. `work` is the work of training, parameters
    times points that pass through, and `sequence` how much of it comes one after the other, layers
    times steps, however many processors there are: both in units of the first choice. Networks have
    so many `weights`.
    """

    batch: int
    widths: tuple[int, ...]
    step: float
    work: float
    weights: int
    sequence: float

    def beside(self, first: "Choice") -> "Choice":
        """The same, in units of the first choice."""
        work, sequence = self.work / first.work, self.sequence / first.sequence
        return replace(self, work=work, sequence=sequence)


@dataclass(frozen=True)
class Plan:
    """What brings the RMS distance of networks from the limit down to `rms` at time `time`.

    `choices` are widths with several batches, that with the problem's own first unless no width
    suffices with it. `sources` tells what each source adds to rms² with that batch, at infinite
    width if no width suffices. `error` is the relative error (95 %) of the widths. Networks scatter
    as if they had so many independent outputs, `effective_outputs`.
    """

    rms: float
    time: float
    choices: tuple[Choice, ...]
    sources: dict[str, float]
    error: float
    warnings: tuple[str, ...]
    effective_outputs: float

    @property
    def cheapest(self) -> Choice | None:
        """The choice of least work."""
        return min(self.choices, key=lambda choice: choice.work, default=None)

    @property
    def quickest(self) -> Choice | None:
        """The choice of which least comes one after the other; of several the cheapest."""
        return min(self.choices, key=lambda own: (own.sequence, own.work), default=None)
