"""What a command has to say: lines for people, fields for programs, an exit status."""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

COMPUTED, NOT_MET, WRONG_CALL, INTERNAL = 0, 1, 2, 3
"""Exit statuses, see the problem-file documentation."""


@dataclass
class Answer:
    """What a command has to say: lines for people, fields for programs."""

    command: str
    run: Path | None
    as_json: bool
    met: bool = True
    error: float | None = None
    warnings: list[str] = field(default_factory=list)
    own: dict[str, Any] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)

    def after(self, work: Callable[[], None]) -> int:
        """Do the work and print the answer; what diverged is an answer too, though not met."""
        from widelimit.basics.errors import Diverged

        try:
            work()
        except Diverged as error:
            self.met = False
            self.warnings.append(str(error))
            print(f"error: {error}", file=sys.stderr)
        return self.give()

    def as_dict(self) -> dict[str, Any]:
        """What there is to say, without when and where."""
        seconds = round(time.perf_counter() - self.started, 3)
        said = {"met": self.met, "error": self.error, "seconds": seconds}
        return said | {"warnings": self.warnings, "lines": self.lines, "own": self.own}

    def give(self) -> int:
        """Print the answer; the exit status."""
        text = "\n".join(self.lines)
        if self.as_json:
            seconds = round(time.perf_counter() - self.started, 3)
            head = {"command": self.command, "run": self.run and str(self.run), "met": self.met}
            tail = {"error": self.error, "seconds": seconds, "warnings": self.warnings}
            text = json.dumps(head | tail | self.own)
        if text:
            self._print(text)
        return COMPUTED if self.met else NOT_MET

    def _print(self, text: str) -> None:
        """Print to standard output; where nobody reads it, results are there all the same."""
        print(text, flush=True)
        if lost := getattr(sys.stdout, "lost", None):
            where = f"; results are in {self.run}" if self.run else ""
            print(f"note: the answer cannot be printed: {lost}{where}", file=sys.stderr)

    def warn(self, sentences: list[str]) -> None:
        """Say sentences on standard error, once each, and keep them for the answer."""
        for sentence in sentences:
            if sentence not in self.warnings:
                self.warnings.append(sentence)
                print(f"note: {sentence}", file=sys.stderr)
