"""All claims: prints their rows and keeps them in RESULTS.md, benchmark by benchmark.

python benchmarks [name …]      all, or those whose file name contains one of the words
"""

import importlib
import sys
import traceback
from pathlib import Path

from table import Row, keep, lines

ALONE = {  # run on their own, for long
    "bad_files_are_told",
    "dask_workers_die",
    "error_bars_cover",
    "rare_components_cover",
    "residual_errors_cover",
    "kills_lose_nothing",
    "kinks_keep_networks_away",
    "measured_limits_cover",
    "validity_covers",
    "verdicts_alarm_rarely",
}
OWN = {"__main__", "damage", "draws", "oracles", "table", "timing"} | ALONE


def main(words: list[str]) -> int:
    """Measure what was asked for; one that ends in an error takes no other with it."""
    names = sorted(p.stem for p in Path(__file__).parent.glob("*.py") if p.stem not in OWN)
    failed = []
    for name in names:
        if not words or any(word in name for word in words):
            print(f"{name} …", file=sys.stderr, flush=True)
            try:
                rows: list[Row] = importlib.import_module(name).measure()
            except Exception:
                traceback.print_exc()
                failed.append(name)
                continue
            print(lines(rows), flush=True)
            keep(name, rows)
    if failed:
        print(f"ended in an error: {', '.join(failed)}", file=sys.stderr)
    return len(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
