"""Ensembles over several devices: the same limit, and each device holds its own part alone.

JAX makes devices when it starts: what needs several runs in a process of its own, with eight that
are forced on the processor, over the first 1, 2, 4 and 8 of which the same limits go.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from conftest import small_problem
from widelimit.motion import devices
from widelimit.motion.control import by_kind, by_kind_of
from widelimit.motion.devices import Devices
from widelimit.motion.engine import Steps, engine
from widelimit.motion.memory import BASE, Memory
from widelimit.problem.network.layered import LayerCosts as Costs

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "devices_share_nodes.py"


def on_eight(code: str, *arguments: str) -> list:
    """What a script prints, as JSON lines, where there are eight devices."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        encoding="utf-8",
        env=os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


AGREE = """
import json
from dataclasses import replace
import jax, numpy as np
from conftest import small_problem
from widelimit.limit.search import limit_with_neurons
from widelimit.motion import devices
from widelimit.motion.engine import Steps, engine

devices.WORTH = 0
TWO = {"network": {"activations": ["tanh"] * 2, "biases": True}}
NOISE = {"training": {"horizon": 1.0, "temperature": 0.1, "weight_decay": 0.1}}
ALL = 1, 2, 4, 8
CASES = ({}, [1021], ALL), (TWO, [96, 517], ALL), (NOISE, [1022], (1, 8))
for sections, counts, several in CASES:
    first = None
    with engine(small_problem(**sections), "test", False) as work:
        design = work.first_design().with_counts(counts)
        for count in several:
            held = devices.Devices(tuple(jax.devices()[:count]))
            own = replace(work, memory=replace(work.memory, devices=held))
            seen = own.run(design, Steps(1e-6), limit_with_neurons(own)).seen
            first = first or seen
            off = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), seen, first)
            start = own.placed(design)
            placed = own.memory.spread(start.sizes).over(start)
            pieces = [w.sharding.shard_shape(w.shape) for w in placed.weights] if count > 1 else []
            sizes = list(seen["neurons"].weights[0].shape[1:])
            print(json.dumps([max(jax.tree.leaves(off)), sizes, pieces]))
"""


def test_limits_are_the_same_over_devices():
    """One and two hidden layers and noise, with sizes that eight does not divide."""
    found = on_eight(AGREE)
    assert max(off for off, *_ in found) < 1e-12
    assert [sizes for _, sizes, _ in found] == [[1021]] * 4 + [[96]] * 4 + [[1022]] * 2
    assert [p for *_, p in found[:4]] == [[], [[511]], [[256]], [[128]]]
    # of two layers the one is cut that leaves least on a device, filled up
    assert [p for *_, p in found[5:8]] == [[[96], [259]], [[96], [130]], [[96], [65]]]


RESUMED = """
import json, sys
import jax, numpy as np
from conftest import small_problem
from widelimit.basics import store
from widelimit.basics.store import Entry, kept_in
from widelimit.limit.search import seen_of_limit
from widelimit.motion import devices, flow
from widelimit.motion.engine import Steps, engine

devices.WORTH, store.PAUSE, store.SHORT = 0, -1.0, -1.0
lying, going, kept = [], Entry.going, 0

def counted(self, *what):
    global kept
    going(self, *what)
    kept += self.path is not None
    if kept == 5:
        raise KeyboardInterrupt

def watched(*arguments):
    lying.append(arguments[4].parameters.input.sharding.num_devices)
    return advance(*arguments)

advance, flow.advance_one, flow.STRETCH, flow.FEWEST = flow.advance_one, watched, 2, 2
Entry.going = counted

def outputs():
    with engine(small_problem(), "test", False) as work:
        design = work.first_design().with_counts([1021])
        return work.run(design, Steps(1e-6), seen_of_limit).seen["outputs"]

whole = outputs()
stretches = [len(lying)]
with kept_in(sys.argv[1]):
    try:
        outputs()
    except KeyboardInterrupt:
        stretches.append(len(lying) - sum(stretches))
    again = outputs()
stretches.append(len(lying) - sum(stretches))
print(json.dumps([bool((again == whole).all()), sorted(set(lying)), stretches]))
"""


def test_kept_work_goes_on_over_devices(tmp_path):
    """It is the same bit for bit, its arrays are cut again, and what was done is not done again."""
    ((same, lying, stretches),) = on_eight(RESUMED, str(tmp_path))
    assert same
    assert lying == [8]
    whole, before, after = stretches
    assert before + after == whole


def accelerators(count: int) -> Devices:
    """Devices that have a memory each, as far as anybody asks."""
    return Devices((SimpleNamespace(platform="gpu", process_index=0),) * count)


@pytest.mark.parametrize(
    ("sizes", "cut"),
    [
        ((2**20,), (True,)),
        ((2**12, 2**10), (True, False)),
        ((2**10, 2**12), (False, True)),
        ((2**11, 2**10, 2**11), (True, False, True)),
        ((2**10, 2**12, 2**10), (False, True, False)),
        ((2**11,) * 4, (True, False, True, False)),
        ((2**18, 1, 2**18), (True, False, True)),
        ((2**8, 2**8), (False, False)),  # not worth it
    ],
)
def test_every_second_layer_is_cut(sizes, cut):
    """So every matrix is; the layers are chosen that leave least on a device."""
    depth = len(sizes)
    costs = Costs((8, *[1] * (depth - 1), 1), (1,) * depth, (1,) * (depth + 1), tuple(range(depth)))
    assert accelerators(8).spread(costs, sizes).cut == cut
    assert accelerators(1).spread(costs, sizes).held == ()


ONE_LAYER = Costs((64, 1), (1,), (64, 1), (0,))


def test_memory_is_that_of_a_device_or_of_all():
    sizes, one = (2**20,), Memory(10**9, ONE_LAYER, 4, 1000)
    eight = Memory(10**9, ONE_LAYER, 4, 1000, devices=accelerators(8))
    cores = SimpleNamespace(platform="cpu", process_index=0)
    together = Memory(10**9, ONE_LAYER, 4, 1000, devices=Devices((cores,) * 8))
    whole, data = one.needed(sizes, 8, 1) - BASE, 4 * 2 * 1000 * 65
    assert eight.needed(sizes, 8, 1) - BASE - data == pytest.approx((whole - data) / 8)
    assert together.needed(sizes, 8, 1) - BASE == pytest.approx(whole + 7 * data)
    assert not one.fits(sizes, 8)
    assert eight.fits(sizes, 8)


def test_what_fills_up_costs_the_whole_while_it_is_looked_at():
    eight = Memory(10**9, ONE_LAYER, 4, 1000, devices=accelerators(8))
    divided, filled = (eight.needed((n,), 8, 1) for n in (2**20, 2**20 - 1))
    assert (filled - BASE) / (divided - BASE) == pytest.approx(19 / 8, rel=0.05)


def test_layers_with_a_space_in_common_are_counted_once():
    """A matrix from a layer to itself is cut along one axis, not along both."""
    costs = Costs((1, 1, 1), (1, 1), (1, 1, 1), (0, 0))
    memory = Memory(10**9, costs, 1, 0, devices=accelerators(8))
    assert memory.needed((2**12,), 1, 0) - BASE >= 2**24 / 8


def test_runs_over_devices_go_one_after_the_other(monkeypatch):
    """Each waits on all devices for its own pieces: two at once could wait for ever."""
    monkeypatch.setattr(devices, "WORTH", 0)
    monkeypatch.setattr("widelimit.motion.engine.cores", lambda: 4)
    with engine(small_problem(), "test", False) as work:
        assert work.at_once((1024,), Steps(1e-3)) == 4
        monkeypatch.setattr(work.memory.devices.__class__, "spread", accelerators(2).spread)
        assert work.at_once((1024,), Steps(1e-3)) == 1


def test_what_fills_up_is_not_measured():
    rng = np.random.default_rng(0)
    arrays = [jnp.asarray(rng.normal(size=s)) for s in ((8, 2), (8, 6), (6,))]
    own = [(5, 2), (5, 4), (4,)]
    first = [a[tuple(map(slice, s))] for a, s in zip(arrays, own, strict=True)]
    assert float(by_kind_of(own, arrays)) == pytest.approx(float(by_kind(first)), rel=1e-6)


TOGETHER = """
import sys
from widelimit.motion import devices
devices.WORTH = 600
from widelimit.command.cli import main
main(sys.argv[1:])
"""


@pytest.mark.slow
def test_two_processes_solve_together(tmp_path):
    """As SLURM would start them; the first one alone has the folder and speaks."""
    path, run = tmp_path / "problem.toml", tmp_path / "run"
    path.write_text(small_problem(limit={"tolerance": 1e-3}).to_toml(), encoding="utf-8")

    def solve(out: Path, *flags: str, **variables: str) -> subprocess.Popen:
        call = [sys.executable, "-c", TOGETHER, "solve", str(path), "-o", str(out), *flags]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | variables
        pipe = subprocess.PIPE
        return subprocess.Popen(call, stdout=pipe, stderr=pipe, encoding="utf-8", env=environment)

    def of_job(job: int) -> list[tuple[int, str, str]]:
        common = {"SLURM_JOB_ID": f"{job}", "SLURM_STEP_NODELIST": "127.0.0.1", "SLURM_NTASKS": "2"}
        both = [
            solve(run, "--together", SLURM_PROCID=f"{k}", SLURM_LOCALID=f"{k}", **common)
            for k in range(2)
        ]
        said = [process.communicate(timeout=300) for process in both]
        return [(process.returncode, *words) for process, words in zip(both, said, strict=True)]

    first, second = of_job(os.getpid())
    assert (first[0], second[0]) == (0, 0), (first, second)
    assert "met" in first[1]
    assert second[1].replace("\n", "").startswith("[Gloo]") or not second[1].strip()
    again, _ = of_job(os.getpid() + 1)
    assert "already there" in again[1]
    alone = solve(tmp_path / "alone")
    alone.communicate(timeout=300)
    assert alone.returncode == 0
    results = (folder / "limit.nc" for folder in (run, tmp_path / "alone"))
    found, whole = (xr.load_dataset(result, engine="h5netcdf") for result in results)
    np.testing.assert_allclose(found.output, whole.output, atol=1e-10)
    assert found.attrs["nodes"] == whole.attrs["nodes"]


@pytest.mark.slow
def test_many_nodes_take_the_memory_of_the_model():
    """2^22 nodes; the benchmark takes 2^25. A device takes an eighth of what all take."""
    flags = "--xla_force_host_platform_device_count=8"  # as users have it: optimised
    done = subprocess.run(
        [sys.executable, str(BENCHMARK), "nodes", "22"],
        capture_output=True,
        encoding="utf-8",
        env=os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    model, peak, placing, one, *_ = map(float, done.stdout.split())
    assert max(peak, placing) < model
    assert 8 * one < model - BASE
