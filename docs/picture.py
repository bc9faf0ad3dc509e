"""Draw docs/demo.svg, the picture of the README, from the run folder of the demo.

    widelimit demo -o demo-run && python docs/picture.py demo-run
"""

import sys
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from widelimit import RunFolder, compare
from widelimit.report.pictures import STYLE, draw_distance, draw_risk


def main(run: str) -> None:
    """Risk over time beside the distance from the limit by width."""
    folder = RunFolder(run)
    limit, networks = folder.load("limit"), folder.load("networks")
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 3.4))
        left, right = figure.subplots(1, 2)
        draw_risk([limit, networks], left)
        draw_distance(compare(limit, networks), right)
        target = Path(__file__).with_name("demo.svg")
        figure.savefig(target, metadata={"Date": None})


if __name__ == "__main__":
    main(sys.argv[1])
