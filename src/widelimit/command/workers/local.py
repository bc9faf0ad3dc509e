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
from multiprocessing.connection import wait
from pathlib import Path

from widelimit.basics.errors import RunFolderError
from widelimit.command.workers.threads import one_thread_each

ATTEMPTS = 3
"""Processes are started again so many times with no task ended in between."""


def in_processes(work: Callable[[Path], None], tasks: Sequence[Path], count: int) -> Iterator[Path]:
    """Do tasks in so many processes; each is yielded when it has ended.

    Where a process is killed, tasks that have not ended are done again: `work` finds what it has
    kept. Raises `RunFolderError` if that does not help.
    """
    left, attempts = list(tasks), 0
    with one_thread_each():
        while left:
            before = len(left)
            for task in _until_one_is_killed(work, left, count):
                left.remove(task)
                yield task
            attempts = attempts + 1 if len(left) == before else 1
            if left and attempts >= ATTEMPTS:
                raise RunFolderError(
                    f"workers were killed {ATTEMPTS} times in a row, the last of them at "
                    f"{', '.join(task.name for task in left[:count])}; if memory is short, take "
                    "fewer of them with --workers; what is done stays"
                )


def _until_one_is_killed(
    work: Callable[[Path], None], tasks: Sequence[Path], count: int
) -> Iterator[Path]:
    """Tasks that have ended, until all have or a process was killed."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, context, _end_with_parent)
    try:
        futures = {pool.submit(work, task): task for task in tasks}
        for future in as_completed(futures):
            future.result()
            yield futures[future]
    except BrokenProcessPool:
        pass
    except BaseException:  # an interrupt: what they do is kept, and nobody waits for it
        for child in multiprocessing.active_children():
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """End this process as soon as its parent has, however that ends."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="parent").start()
