"""Claims about many problems drawn at random: all computed, and shares of what is covered."""

import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from widelimit.command.compilation import keep_compiled


def drawn(draw: Callable[[int], dict], draws: int, name: str) -> pd.DataFrame:
    """`draw(number)` for so many numbers, in two processes; kept as `name`.csv.

    Until all are there they are kept in `name`.part.csv, after each: what is stopped goes on from
    it, and says so. Delete it where the code has changed.
    """
    keep_compiled()  # the processes inherit the environment before they import JAX
    path = Path(f"{name}.part.csv")
    found = pd.read_csv(path).to_dict("records") if path.exists() else []
    if found:
        print(f"going on from {len(found)} draws in {path}", file=sys.stderr, flush=True)
    numbers = range(len(found), draws)
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        for one in tqdm(pool.map(draw, numbers), total=len(numbers), disable=None):
            found.append(one)
            pd.DataFrame(found).to_csv(path, index=False)
    if path.exists():
        path.replace(f"{name}.csv")
    return pd.DataFrame(found[:draws])


def shares(covered: pd.Series, kinds: pd.Series) -> str:
    """The share that is covered of every kind, in words."""
    by = covered.groupby(kinds).agg(["mean", "size"])
    said = ", ".join(f"{k}: {r['mean']:.0%} of {int(r['size'])}" for k, r in by.iterrows())
    return f"by {kinds.name}: {said}"
