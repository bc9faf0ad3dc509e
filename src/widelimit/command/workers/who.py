"""Who computes: this process alone, or other ones beside it."""

import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import psutil
from cyclopts import Parameter, validators

from widelimit.basics.cores import cores
from widelimit.basics.errors import RunFolderError
from widelimit.command.workers.threads import Carry, one_thread_here

if TYPE_CHECKING:
    from widelimit.basics.hands import Ahead
    from widelimit.problem.problem import Problem

MEMORY_EACH = 2 * 10**9
"""Bytes that a member of a sweep is taken to need if `limit.memory` does not say."""


@Parameter(name="*")
@dataclass(frozen=True)
class Who:
    """An engine, its scheduler, and how many workers."""

    engine: Annotated[
        Literal["local", "dask"],
        Parameter(help="Who computes beside it: processes of this machine, or a Dask cluster."),
    ] = "local"
    scheduler: Annotated[
        str | None,
        Parameter(help="Dask's scheduler: an address, a scheduler file, or slurm (asks for jobs)."),
    ] = None
    workers: Annotated[
        int | None,
        Parameter(
            help="How many processes compute, in one thread each (a sweep: what cores and memory "
            "bear; else by default this one alone, with its threads).",
            validator=validators.Number(gte=1),
        ),
    ] = None

    def at_a_time(self, problem: "Problem") -> int:
        """Members: as many as were asked for, or as there are cores and free memory for."""
        each = problem.limit.memory or MEMORY_EACH
        free = psutil.virtual_memory().available // each
        return self.workers or max(1, min(cores(), free))

    def require_possible(self) -> None:
        """Raise `RunFolderError` where the engine has no such scheduler."""
        if self.scheduler is not None and self.engine != "dask":
            raise RunFolderError("--scheduler: is Dask's; take --engine dask with it")

    @contextmanager
    def at_work(self, count: int) -> Iterator[Carry]:
        """So many of them, who do tasks while the block lasts.

        Raises `RunFolderError` where Dask is not there.
        """
        if self.engine == "dask":
            from widelimit.command.workers.cluster import cluster

            with cluster(count, self.scheduler) as carry:
                yield carry
            return
        from widelimit.command.workers.local import processes

        with processes(count) as carry:
            yield carry

    @contextmanager
    def beside(self) -> Iterator[None]:
        """What is computed in the block is computed by workers too, if any were asked for.

        To be entered before JAX is imported: this process then computes in one thread as they do.
        """
        if self == ALONE:
            yield
            return
        self.require_possible()
        count = self.workers or cores()
        one_thread_here()
        from widelimit.basics.hands import helped_by

        with self.at_work(count) as carry:

            def carried(pieces: "Sequence[Ahead]") -> "Iterator[Ahead]":
                sent = [_Sent(own.name, pickle.dumps(own)) for own in pieces]
                by_name = {own.name: own for own in pieces}
                return (by_name[own.name] for own in carry(_work_on, sent))

            with helped_by(carried):
                yield


ALONE = Who()
"""Nobody beside this process; of a sweep, processes of this machine."""


class _Sent(NamedTuple):
    """A piece of work on its way: whoever opens it has JAX imported."""

    name: str
    pickled: bytes


def _work_on(sent: _Sent) -> None:
    """Do a piece, with compiled code where this process finds it too."""
    from widelimit.command.compilation import keep_compiled

    keep_compiled()
    pickle.loads(sent.pickled).do()
