"""Work before it is done: what it takes, as far as that can be known beforehand."""

from typing import Any, NamedTuple

from widelimit.basics.words import duration


class Task(NamedTuple):
    """A piece of work: what it is, its memory in bytes, and the seconds that it takes.

    `seconds` are estimated from a part of the work done on this machine; None where nothing tells.
    Where it may `grow`, they are the least that it takes.
    """

    what: str
    details: str
    bytes: int
    seconds: float | None
    grows: bool = False

    def words(self) -> str:
        """The task in one line."""
        if self.seconds is None:
            time = "time not known beforehand"
        else:
            time = f"about {duration(self.seconds)}{' or more' if self.grows else ''}"
        details = f"{self.details}: " if self.details else ""
        return f"{self.what:<10}{details}{self.bytes / 1e9:.2g} GB, {time}"

    def as_dict(self) -> dict[str, Any]:
        """The task as an entry of a plan."""
        head = {"task": self.what, "details": self.details, "gigabytes": self.bytes / 1e9}
        return head | {"seconds": self.seconds, "at_least": self.grows}
