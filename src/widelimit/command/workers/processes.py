"""Processes of one SLURM or MPI job that solve one problem together (`jax.distributed`).

All read the problem and compute. The first one alone has the run folder and speaks: others work in
a folder that is thrown away, with what is there already handed to them, and are silent.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from widelimit.command import stages
from widelimit.command.answer import WRONG_CALL, Answer

if TYPE_CHECKING:
    from widelimit.results.folders.runfolder import RunFolder

HANDED = ("problem.toml", "limit.nc", "states.nc")
"""The files of a limit."""


def solve_together(problem: Path, output: Path, overwrite: bool, as_json: bool) -> int:
    """`solve` by all processes of this job; the exit status. Raises what `solve` does."""
    first = _joined()
    with _place(first, output) as own:
        answer = Answer("solve", own, as_json)
        try:
            folder, read = stages.opened(problem, own, ("limit",), overwrite, answer)
        except Exception:
            _all_are(False)
            if first:
                raise
            return WRONG_CALL
        if not _all_are(True):
            return WRONG_CALL
        _hand_over(folder, first)
        return answer.after(lambda: stages.solve(read, folder, answer))


def _joined() -> bool:
    """This process among the others of its job; whether it is the first."""
    import jax

    from widelimit.basics.errors import ProblemError

    try:
        jax.distributed.initialize()
    except ValueError as error:  # no cluster that JAX knows
        said = f"--together is for processes that SLURM or MPI starts: {error}"
        raise ProblemError([said], "solve") from None
    return jax.process_index() == 0


@contextmanager
def _place(first: bool, output: Path) -> Iterator[Path]:
    """The folder in which this process works; what others than the first one say is not heard."""
    if first:
        yield output
        return
    with (
        tempfile.TemporaryDirectory(prefix="widelimit-") as folder,
        redirect_stdout(StringIO()),
        redirect_stderr(StringIO()),
    ):
        yield Path(folder) / "run"


def _all_are(well: bool) -> bool:
    """Whether all processes are well so far."""
    import numpy as np
    from jax.experimental.multihost_utils import process_allgather

    return bool(np.all(process_allgather(np.asarray(well))))


def _hand_over(folder: "RunFolder", first: bool) -> None:
    """Give the limit that the first process has, if it has one, to all."""
    import numpy as np
    from jax.experimental.multihost_utils import broadcast_one_to_all

    for name in HANDED:
        path = folder.path / name
        held = path.read_bytes() if first and path.is_file() else b""
        size = int(broadcast_one_to_all(np.asarray(len(held), np.int32)))
        content = np.frombuffer(held, np.uint8) if first else np.zeros(size, np.uint8)
        if size:
            content = np.asarray(broadcast_one_to_all(content))
            if not first:
                path.write_bytes(content.tobytes())
