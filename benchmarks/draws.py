"""Claims about many problems drawn at random: all computed, and shares of what is covered."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pandas as pd
from tqdm import tqdm

from widelimit.command.compilation import keep_compiled


def drawn(draw: Callable[[int], dict], draws: int, name: str) -> pd.DataFrame:
    """`draw(number)` for so many numbers, in two processes; kept as `name`.csv."""
    keep_compiled()  # the processes inherit the environment before they import JAX
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        found = list(tqdm(pool.map(draw, range(draws)), total=draws, disable=None))
    table = pd.DataFrame(found)
    table.to_csv(f"{name}.csv", index=False)
    return table


def shares(covered: pd.Series, kinds: pd.Series) -> str:
    """The share that is covered of every kind, in words."""
    by = covered.groupby(kinds).agg(["mean", "size"])
    said = ", ".join(f"{k}: {r['mean']:.0%} of {int(r['size'])}" for k, r in by.iterrows())
    return f"by {kinds.name}: {said}"
