"""One thread for a worker: numbers do not depend on how many cores a machine has.

Sums that several threads share are rounded in another order. So every member of a sweep is computed
in one thread, whoever computes it; and members side by side use cores better than threads do.
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from widelimit.basics.cores import THREADS

Carry = Callable[[Callable[[Any], None], Sequence[Any]], Iterator[Any]]
"""Workers that do a function of each of several tasks; a task is yielded when it has ended."""

XLA = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"


def one_thread() -> dict[str, str]:
    """The variables that a worker needs before it imports JAX."""
    before = os.environ.get("XLA_FLAGS", "")
    flags = before if XLA in before else f"{before} {XLA}".strip()
    return {"XLA_FLAGS": flags, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", THREADS: "1"}


def one_thread_here() -> None:
    """This process computes as workers do, if it has not imported JAX, which reads it then."""
    if "jax" not in sys.modules:
        os.environ.update(one_thread())


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Processes that are started inside the block have one thread each."""
    before = {name: os.environ.get(name) for name in one_thread()}
    os.environ.update(one_thread())
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
