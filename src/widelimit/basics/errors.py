"""What can go wrong, as exceptions that carry a sentence for the user."""

from widelimit.basics.words import printable, shortened

MOST_TOLD = 20
"""So many mistakes are told; of more their number."""


class WidelimitError(Exception):
    """Every error that widelimit raises on purpose."""


class ProblemError(WidelimitError, ValueError):
    """A problem file (or table) is wrong: all its mistakes at once, each with its place.

    `mistakes` is a list of sentences `"training.horizon: found -1.0; ..."`.
    """

    def __init__(self, mistakes: list[str], source: str = "the problem"):
        self.mistakes = mistakes
        self.source = source
        count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        told = [f"  {shortened(line)}" for line in mistakes[:MOST_TOLD]]
        if more := len(mistakes) - len(told):
            told.append(f"  … and {more} more")
        super().__init__(printable("\n".join([f"{source}: {count}", *told])))

    def __reduce__(self) -> tuple:
        """How it travels between processes: by what made it, not by its text."""
        return type(self), (self.mistakes, self.source)


class RunFolderError(WidelimitError):
    """A run folder lacks what was asked of it, or holds results of another problem."""


class Diverged(WidelimitError, ArithmeticError):  # noqa: N818 - a state, as users say it
    """A state stopped being finite, or its integration stopped advancing.

    `time` is the mean-field time that was reached.
    """

    def __init__(self, what: str, time: float, cause: str):
        self.what, self.time, self.cause = what, time, cause
        super().__init__(f"{what} diverged at about t = {time:.4g}: {cause}")

    def __reduce__(self) -> tuple:
        """How it travels between processes: by what made it, not by its text."""
        return type(self), (self.what, self.time, self.cause)
