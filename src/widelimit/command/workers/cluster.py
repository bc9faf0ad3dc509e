"""Tasks on a Dask cluster: one at an address, one that SLURM is asked for, or one made here.

Dask does a task again if its worker is killed. Nothing of results passes through it: a task leaves
its files, in folders that all workers see.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from widelimit.basics.errors import RunFolderError
from widelimit.command.workers.threads import Carry, one_thread

RETRIES = 3
"""A task is tried again so many times after errors of its own; kills are counted by Dask."""

MISSING = (
    "--engine dask needs {what}, which is not installed: pip install 'widelimit[dask]', or take "
    "--engine local"
)


@contextmanager
def cluster(count: int, scheduler: str | None) -> Iterator[Carry]:
    """A cluster that does tasks while the block lasts.

    `scheduler` is an address or a scheduler file, "slurm" for `count` jobs of SLURM, None for
    `count` processes of this machine.
    """
    try:
        from dask import config  # pyright: ignore[reportMissingImports]
        from dask.distributed import (  # pyright: ignore[reportMissingImports]
            KilledWorker,
            as_completed,
        )
    except ImportError:
        raise RunFolderError(MISSING.format(what="dask.distributed")) from None
    with _client(count, scheduler) as client:

        def carry(work: Callable[[Any], None], tasks: Sequence[Any]) -> Iterator[Any]:
            futures = client.map(_alone, [work] * len(tasks), tasks, pure=False, retries=RETRIES)
            ended = dict(zip([future.key for future in futures], tasks, strict=True))
            try:
                for future, _ in as_completed(futures, with_results=True):
                    yield ended[future.key]
            except KilledWorker as error:
                raise RunFolderError(
                    f"{error}; if memory is short, give workers more of it; what is done stays"
                ) from None

        with config.set(scheduler="synchronous"):  # or xarray asks it for locks on its files
            yield carry


def _alone(work: Callable[[Any], None], task: Any) -> None:
    """A task in one thread, if JAX has not started here with more; xarray leaves Dask alone."""
    from dask import config  # pyright: ignore[reportMissingImports]

    os.environ.update(one_thread())
    with config.set(scheduler="synchronous"):
        work(task)


@contextmanager
def _client(count: int, scheduler: str | None) -> Iterator[Any]:
    """Whoever gives tasks to the cluster; one that is made here ends with the block."""
    from dask import config  # pyright: ignore[reportMissingImports]
    from dask.distributed import Client  # pyright: ignore[reportMissingImports]

    with ExitStack() as stack:
        stack.enter_context(config.set({"distributed.nanny.pre-spawn-environ": one_thread()}))
        where: Any = scheduler
        if scheduler is None:
            where = stack.enter_context(_local(count))
        elif scheduler == "slurm":
            where = stack.enter_context(_slurm(count))
        elif Path(scheduler).is_file():
            yield stack.enter_context(Client(scheduler_file=scheduler))
            return
        try:
            client = stack.enter_context(Client(where, timeout="30s"))
        except (OSError, ValueError) as error:
            raise RunFolderError(
                f"--scheduler: found {scheduler!r}; no Dask scheduler answers there ({error})"
            ) from None
        yield client


def _local(count: int) -> Any:
    """So many processes of this machine; Dask begins anew where one is killed while it starts."""
    from dask.distributed import LocalCluster  # pyright: ignore[reportMissingImports]

    asked: Any = {"n_workers": count, "threads_per_worker": 1, "dashboard_address": None}
    for _ in range(RETRIES):
        with suppress(RuntimeError):
            return LocalCluster(**asked)
    raise RunFolderError("Dask's workers do not start here; take --engine local")


def _slurm(count: int) -> Any:
    """So many jobs of SLURM, as the site's dask-jobqueue configuration describes them."""
    try:
        from dask_jobqueue.slurm import (  # pyright: ignore[reportMissingImports]
            SLURMCluster,
        )
    except ImportError:
        raise RunFolderError(MISSING.format(what="dask-jobqueue")) from None
    cluster = SLURMCluster(
        cores=1, processes=1, memory="4GB",
        job_script_prologue=[f"export {name}='{text}'" for name, text in one_thread().items()],
    )  # fmt: skip
    cluster.scale(jobs=count)
    return cluster
