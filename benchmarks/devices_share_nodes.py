"""Claims: over 1, 2, 4, 8 devices the limit is the same; 2^25 nodes take the memory of the model.

Eight devices are forced on the processor: they share its cores and its memory, so that agreement
and memory are measured here, and no gain of speed. Agreement: the largest difference of outputs and
neurons at any time, in double precision. Memory: one hidden layer of 2 inputs on 2^25 nodes, in
float32, some steps of Heun's method; its peak is that of the process, and what one device takes is
what XLA says of the compiled step. `devices_share_nodes.py nodes [log2 of nodes]` runs it alone.
Work and communication: what XLA says of a compiled right-hand side.
"""

import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from table import Row, lines

COUNTS = 1, 2, 4, 8
CASES = {
    "one hidden layer, 4,096 nodes": (1, [4096]),
    "one hidden layer, 4,093 nodes": (1, [4093]),
    "two hidden layers, 600 × 603 nodes": (2, [600, 603]),
}
LOG2_NODES, POINTS, BUDGET = 25, 8, "8 GB"
TIMED = 2**12, 2**15, 2**18, 2**20
LAST = 0.02
"""The horizon of the many nodes."""


def problem(depth: int, horizon: float, **limit: Any) -> Any:
    """A smooth regression of two inputs."""
    import numpy as np

    from widelimit import Problem

    x = np.random.default_rng(0).normal(size=(POINTS, 2))
    return Problem.from_dict(
        {
            "network": {"activations": ["tanh"] * depth, "biases": depth > 1},
            "data": {"source": "table", "inputs": x.tolist(), "targets": np.sin(x[:, 0]).tolist()},
            "training": {"horizon": horizon},
            "limit": limit,
            "observe": {"times": 2},
        }
    )


def agreement() -> None:
    """By case and number of devices the largest difference from one device; prints them."""
    from dataclasses import replace

    import jax
    import numpy as np

    from widelimit.limit.search import seen_of_limit
    from widelimit.motion import devices
    from widelimit.motion.engine import Steps, engine

    devices.WORTH = 0
    for depth, counts in CASES.values():
        found = []
        with engine(problem(depth, 2.0), "agreement", False) as work:
            design = work.first_design().with_counts(counts)
            for count in COUNTS:
                held = devices.Devices(tuple(jax.devices()[:count]))
                own = replace(work, memory=replace(work.memory, devices=held))
                look = lambda *now: (seen_of_limit(*now), now[1])  # noqa: E731
                found.append(jax.tree.leaves(own.run(design, Steps(1e-7), look).seen))
        first, *others = found
        pairs = [zip(first, other, strict=True) for other in others]
        print(*(max(float(np.abs(a - b).max()) for a, b in pair) for pair in pairs))


def times() -> None:
    """How many times as long limits of `TIMED` nodes take over eight devices as on one."""
    from dataclasses import replace

    import jax

    from widelimit.limit.search import seen_of_limit
    from widelimit.motion import devices
    from widelimit.motion.engine import Steps, engine

    devices.WORTH = 0
    with engine(problem(1, 1.0), "times", False) as work:
        sobol = next(rule for rule in work.candidates[0] if rule.name == "sobol")
        for count in TIMED:
            design = work.first_design().with_rule(0, sobol).with_counts([count])
            start, best = work.placed(design), []
            for held in (jax.devices()[:1], jax.devices()):
                memory = replace(work.memory, devices=devices.Devices(tuple(held)))
                own = replace(work, memory=memory)
                runs = [own.run(design, Steps(1e-5), seen_of_limit, start) for _ in range(4)]
                best.append(min(run.seconds for run in runs[1:]))
            print(best[1] / best[0])


def nodes(log2: int) -> None:
    """One integration; prints bytes: of the model, at peak, of placing, of one device; seconds."""
    import jax

    from widelimit.limit.search import seen_of_limit
    from widelimit.motion.engine import Steps, engine
    from widelimit.motion.flow import COPIES

    case = problem(1, LAST, memory=BUDGET, precision="float32")
    with engine(case, "one replicate", False) as work:
        sobol = next(rule for rule in work.candidates[0] if rule.name == "sobol")
        design = work.first_design().with_rule(0, sobol).with_counts([2**log2])
        start = work.placed(design)
        placing = peak()
        method, system = work.means(start.sizes, 1e-2)
        copies, points = COPIES[type(method)], system.equations.points
        assert points is not None
        model = work.memory.needed(start.sizes, copies, points)
        one = of_one_device(work, start, method, system)
        forget_peak()
        started = time.perf_counter()
        seen = work.run(design, Steps(1e-2), seen_of_limit, start).seen
        assert bool(jax.numpy.isfinite(seen["outputs"]).all())
        print(model, peak(), placing, one, time.perf_counter() - started, copies, points)


def right_hand_side() -> None:
    """Per node and point operations, tanh, nanoseconds; all-reduces, and numbers that they add."""
    import re

    import jax

    from widelimit.motion.engine import engine

    with engine(problem(1, 1.0, precision="float32"), "right-hand side", False) as work:
        sobol = next(rule for rule in work.candidates[0] if rule.name == "sobol")
        start = work.placed(work.first_design().with_rule(0, sobol).with_counts([2**20]))
        spread = work.memory.spread(start.sizes)
        system, start = spread.everywhere(work.system.in_pieces(POINTS)), spread.over(start)
        equations, dynamics = system.equations, system.dynamics
        velocity = jax.jit(lambda now, batch: dynamics.velocity(equations, now, batch))
        compiled = velocity.lower(start, system.batch).compile()
        seconds = []
        for _ in range(6):
            began = time.perf_counter()
            jax.block_until_ready(compiled(start, system.batch))
            seconds.append(time.perf_counter() - began)
        costs, own = compiled.cost_analysis(), 2**20 * POINTS / spread.pieces
        sums = re.findall(r"= f32\[([\d,]*)\]\S* all-reduce\(", compiled.as_text() or "")
        added = sum(math.prod(int(n) for n in shape.split(",") if n) for shape in sums)
        nanoseconds = 1e9 * min(seconds) / 2**20 / POINTS
        print(costs["flops"] / own, costs["transcendentals"] / own, nanoseconds, len(sums), added)


def of_one_device(work: Any, start: Any, method: Any, system: Any) -> int:
    """Bytes that one device takes for the compiled steps: what goes in, out, and between."""
    import jax.numpy as jnp
    import numpy as np

    from widelimit.motion.flow import advance_one, stretch_of

    spread = work.memory.spread(start.sizes)
    system, placed = spread.everywhere(system), spread.over(start)
    zero, stop = np.zeros((), np.float32), jnp.asarray(LAST, jnp.float32)
    lowered: Any = advance_one.lower(  # pyright: ignore[reportFunctionMemberAccess]
        method, system.equations, system.dynamics, system.batch, placed, zero, stop,
        np.asarray(1e-3, np.float32), np.asarray(1e-2, np.float32), stretch_of(system, placed),
    )  # fmt: skip
    held = lowered.compile().compiled.memory_analysis()
    parts = "argument_size_in_bytes", "output_size_in_bytes", "temp_size_in_bytes"
    return sum(getattr(held, part) for part in parts)


def peak() -> int:
    """The largest resident memory so far, in bytes."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def forget_peak() -> None:
    """From now on `peak` is what comes."""
    Path("/proc/self/clear_refs").write_text("5")


def run(*arguments: str) -> list[list[float]]:
    """The numbers printed by this script in a process with eight devices."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    done = subprocess.run(
        [sys.executable, __file__, *arguments],
        check=True,
        capture_output=True,
        encoding="utf-8",
        env=os.environ | {"XLA_FLAGS": flags},
    )
    return [[float(word) for word in line.split()] for line in done.stdout.splitlines()]


def measure() -> list[Row]:
    """All claims."""
    rows = [
        Row(f"{name}, 2, 4, 8 devices", "≤ 1e-10", ", ".join(f"{d:.1e}" for d in found), "float64")
        for name, found in zip(CASES, run("agreement"), strict=True)
    ]
    ((model, most, placing, one, seconds, copies, points),) = run("nodes", str(LOG2_NODES))
    how = f"{copies:.0f} copies, {points:.0f} points at once, {seconds:.0f} s"
    ((flops, tanh, nanoseconds, sums, added),) = run("rhs")
    claim = f"a right-hand side on 2^20 nodes over 8 devices, {POINTS} points"
    each = f"{flops:.1f} operations and {tanh:.0f} tanh a node and point, {nanoseconds:.1f} ns"
    rows.append(Row(claim, "one all-reduce", f"{sums:.0f}, of {added:.0f} numbers", each))
    ratios = ", ".join(f"{ratio:.1f}" for (ratio,) in run("times"))
    claim = "time over 8 devices of the same 2 cores, 2^12, 2^15, 2^18, 2^20 nodes"
    rows.append(Row(claim, "about 1 ×", f"{ratios} ×", "float64, of the time on one"))
    held = f"placing on the host {placing / 1e9:.2f} GB; a device by XLA {one / 1e9:.3f} GB"
    claim = f"2^{LOG2_NODES} nodes over 8 devices, float32, {POINTS} points"
    return [*rows, Row(claim, f"≤ {model / 1e9:.2f} GB", f"{most / 1e9:.2f} GB", f"{how}; {held}")]


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["agreement"]:
            agreement()
        case ["times"]:
            times()
        case ["rhs"]:
            right_hand_side()
        case ["nodes", log2]:
            nodes(int(log2))
        case _:
            print(lines(measure()))
