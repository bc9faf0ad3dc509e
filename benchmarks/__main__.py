"""All claims in one run: prints one table and keeps it in RESULTS.md.

python benchmarks [name …]      all, or those whose file name contains one of the words
"""

import importlib
import sys
from pathlib import Path

from table import Row, keep, lines

ALONE = {  # run on their own, for long
    "bad_files_are_told",
    "dask_workers_die",
    "error_bars_cover",
    "rare_components_cover",
    "kills_lose_nothing",
    "kinks_keep_networks_away",
    "validity_covers",
    "verdicts_alarm_rarely",
}
OWN = {"__main__", "damage", "draws", "table", "timing"} | ALONE


def main(words: list[str]) -> None:
    """Measure what was asked for; the table is kept when that is everything."""
    names = sorted(p.stem for p in Path(__file__).parent.glob("*.py") if p.stem not in OWN)
    rows: list[Row] = []
    for name in names:
        if not words or any(word in name for word in words):
            print(f"{name} …", file=sys.stderr, flush=True)
            rows += importlib.import_module(name).measure()
    print(lines(rows))
    if not words:
        keep(rows)


if __name__ == "__main__":
    main(sys.argv[1:])
