"""Tasks in processes of this machine: one that is killed takes no other with it.

Processes are spawned, not forked: JAX has threads of its own, and forking after it has started
hangs.
"""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import Any

from widelimit.basics.errors import RunFolderError
from widelimit.command.workers.threads import Carry, one_thread_each

ATTEMPTS = 3
"""Processes are started again so many times with no task ended in between."""


@contextmanager
def processes(count: int) -> Iterator[Carry]:
    """So many processes that do tasks while the block lasts; they start with the first task.

    Where one is killed, tasks that have not ended are done again: they find what they have kept.
    Raises `RunFolderError` if that does not help.
    """
    pool = _Pool(count)
    with one_thread_each():
        try:
            yield pool.carry
        finally:
            pool.end()


class _Pool:
    """Processes, and others in their place where one of them is killed."""

    def __init__(self, count: int):
        self.count = count
        self.pool: ProcessPoolExecutor | None = None

    def carry(self, work: Callable[[Any], None], tasks: Sequence[Any]) -> Iterator[Any]:
        """Do tasks; each is yielded when it has ended."""
        left, attempts = list(tasks), 0
        while left:
            before = len(left)
            for task in self._until_one_is_killed(work, left):
                left.remove(task)
                yield task
            attempts = attempts + 1 if len(left) == before else 1
            if left and attempts >= ATTEMPTS:
                raise RunFolderError(
                    f"workers were killed {ATTEMPTS} times in a row, the last of them at "
                    f"{', '.join(task.name for task in left[: self.count])}; if memory is short, "
                    "take fewer of them with --workers; what is done stays"
                )

    def _until_one_is_killed(
        self, work: Callable[[Any], None], tasks: Sequence[Any]
    ) -> Iterator[Any]:
        """Tasks that have ended, until all have or a process was killed."""
        if self.pool is None:
            context = multiprocessing.get_context("spawn")
            self.pool = ProcessPoolExecutor(self.count, context, _end_with_parent)
        try:
            futures = {self.pool.submit(work, task): task for task in tasks}
            for future in as_completed(futures):
                future.result()
                yield futures[future]
        except BrokenProcessPool:
            self.end()
        except BaseException:  # an interrupt: what they do is kept, and nobody waits for it
            for child in multiprocessing.active_children():
                child.terminate()
            self.end()
            raise

    def end(self) -> None:
        """End the processes, if there are any."""
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)
            self.pool = None


def _end_with_parent() -> None:
    """End this process as soon as its parent has, however that ends."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="parent").start()
