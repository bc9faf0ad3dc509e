"""Damaged and absurd files, drawn from a seed: problems, data, folders with results.

`case(number, folder, finished)` writes the files of one case and says how the command is called.
"""

import copy
import io
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import tomli_w

SEED = 2027
NAN, INF = float("nan"), float("inf")

ABSURD: list[Any] = [
    0, -1, 1, 2, 0.5, -0.0, 1e-300, 5e-324, 1e300, 1.7e308, -1e300, NAN, INF, -INF,
    10**9, 10**18, -(10**18), 2**63, 10**400, True, False, "", " ", "1.0", "tanh", "limit", "nan",
    "\u202e\u0000x", "ünïcødé 🦆", "x" * 10_000, "../../..", "/dev/null", "~nosuchuser/x", [], [[]],
    [1.0], [1.0, NAN], [-1.0, 1e300], ["a"], [[1.0], [1.0, 2.0]], [1, "two", [3]], [0.0] * 2000,
    {}, {"law": "normal"}, {"law": "atoms", "points": []}, {"law": "normal", "mean": 1e300},
    {"law": "uniform", "low": 1.0, "high": -1.0}, {"law": "normal", "std": -1.0}, {"a": {"b": {}}},
    {"schedule": "power", "value": 1e300, "exponent": -9.0}, {"law": "cauchy"}, "2020-01-01",
]  # fmt: skip
"""What is put where something else belongs."""

ATOMS = {"law": "atoms", "points": [0.5, 1.5]}
NEURONS = {"law": "atoms", "points": [[1.0, 0.5, 2.0], [-0.7, 1.2, 0.4], [0.3, -0.8, -1.0]]}


def base(rng: np.random.Generator) -> dict[str, Any]:
    """A right problem that takes a second, with most tables that there are."""
    deep = rng.random() < 0.25
    initial: dict[str, Any] = {"neuron": copy.deepcopy(NEURONS)}
    if deep:
        initial = copy.deepcopy({"input": ATOMS, "hidden": {"law": "normal"}, "readout": ATOMS})
    return {
        "title": "a small one",
        "format": 1,
        "seed": 3,
        "network": {"activations": ["tanh"] * (1 + deep), "biases": False, "initial": initial},
        "data": {
            "source": "table",
            "inputs": [[-1.0, 0.3], [1.0, 0.2], [0.4, -1.0], [0.1, 0.9]],
            "targets": [0.5, -0.5, 0.2, 0.1],
            "weights": [0.25, 0.25, 0.25, 0.25],
        },
        "training": {"loss": "squared", "horizon": 0.5, "learning_rates": {"readout": 1.0}},
        "limit": {"tolerance": 0.2, "max_seconds": 5.0, "max_nodes": 256, "precision": "float64"},
        "networks": {"widths": [4], "seeds": 2, "method": "gd", "step": 0.1, "batch": 1},
        "observe": {"times": 3, "inputs": [[0.0, 1.0]]},
    }


EXTRA: dict[str, Any] = {
    "training.momentum": 0.5,
    "training.weight_decay": 0.1,
    "training.label_noise": 0.1,
    "training.temperature": 0.01,
    "training.adam": {"batch": 4},
    "network.scale": 2.0,
    "network.ensembles": ["limit"],
    "network.parametrisation": "mup",
    "network.base_width": 256,
    "network.image": [1, 2],
    "network.layers": [{"map": "convolution", "kernel": 1}],
    "network.skips": [[0, 1]],
    "network.output_bias": True,
    "data.holdout": 0.25,
    "data.classes": True,
    "data.samples": 4,
    "data.scale": 1.0,
    "data.name": "mnist",
    "data.version": 1,
    "limit.memory": "1 GB",
    "limit.rules": ["auto"],
    "limit.nodes": [16],
    "networks.draw": "distinct",
    "networks.precision": "float64",
    "networks.states": 2,
    "observe.functionals": ["moments", "kernel"],
    "training.learning_rates.input": {"schedule": "cosine", "value": 1.0, "time": 1.0},
    "training.learning_rates.hidden": [1.0],
    "data.target": {"formula": "tanh(x1)*x2"},
    "data.path": "data.csv",
}
"""Keys that some problems have."""


def _paths(table: Any, before: tuple = ()) -> list[tuple]:
    """The places of all keys and entries in nested tables."""
    if isinstance(table, dict):
        items = list(table.items())
    elif isinstance(table, list):
        items = list(enumerate(table))
    else:
        return []
    return [p for key, value in items for p in [(*before, key), *_paths(value, (*before, key))]]


def _inside(table: Any, path: tuple) -> Any:
    for key in path:
        table = table[key]
    return table


def _one_of(rng: np.random.Generator, values: Any) -> Any:
    """A copy of one of several values, whatever they are: NumPy would make arrays of them."""
    values = list(values)
    return copy.deepcopy(values[int(rng.integers(len(values)))])


def damaged_tables(rng: np.random.Generator) -> dict[str, Any]:
    """A right problem with some keys taken away, renamed, moved or given absurd values."""
    raw = base(rng)
    if rng.random() < 0.4:
        key = _one_of(rng, EXTRA)
        *tables, last = key.split(".")
        right = rng.random() < 0.5
        _inside(raw, tuple(tables))[last] = (
            copy.deepcopy(EXTRA[key]) if right else _one_of(rng, ABSURD)
        )
    if rng.random() < 0.1:
        key = _one_of(rng, ["training.horizon", "seed", "network.scale", "networks.widths", "x.y"])
        raw["sweep"] = {key: _one_of(rng, [[0.25, 0.5], [1, 2], *ABSURD])}
    if rng.random() < 0.4:
        return _extreme(rng, raw)
    for _ in range(_one_of(rng, [1, 1, 1, 2, 3])):
        path = _one_of(rng, _paths(raw))
        held, last = _inside(raw, path[:-1]), path[-1]
        what = _one_of(rng, ["absurd", "absurd", "absurd", "away", "renamed", "deeper", "moved"])
        if what == "absurd":
            held[last] = _one_of(rng, ABSURD)
        elif what == "away":
            del held[last]
        elif what == "deeper":
            held[last] = [held[last]] if rng.random() < 0.5 else {"value": held[last]}
        elif isinstance(held, dict):
            value, new = held.pop(last), f"{last}s" if what == "renamed" else last
            (held if what == "renamed" else raw)[new] = value
    return raw


def _extreme(rng: np.random.Generator, raw: dict[str, Any]) -> dict[str, Any]:
    """The problem with some of its numbers much larger or smaller, or of the other sign."""
    numbers = [p for p in _paths(raw) if type(_inside(raw, p)) in (int, float)]
    for _ in range(_one_of(rng, [1, 1, 2, 5])):
        path = _one_of(rng, numbers)
        value = _inside(raw, path)
        whole = [0, 1, 2, 7, 1000, 10**6, -value]
        factors = [0.0, -1.0, 1e-300, 1e-9, 1e-3, 30.0, 1e3, 1e6, 1e9, 1e16, 1e160, 1e300]
        new = _one_of(rng, whole) if isinstance(value, int) else value * _one_of(rng, factors)
        _inside(raw, path[:-1])[path[-1]] = new
    return raw


def damaged_text(rng: np.random.Generator) -> bytes:
    """A right file, cut, with lines twice or elsewhere, or with characters that do not belong."""
    text = tomli_w.dumps(base(rng)).encode()
    for _ in range(int(rng.integers(1, 4))):
        at, lines = int(rng.integers(len(text) + 1)), text.splitlines(keepends=True) or [b""]
        what = int(rng.integers(7))
        if what == 0:
            text = text[:at]
        elif what == 1:
            text = text[:at] + rng.bytes(int(rng.integers(1, 20))) + text[at:]
        elif what == 2:
            text = b"".join([*lines, _one_of(rng, lines)])
        elif what == 3:
            text = b"".join(lines[int(i)] for i in rng.permutation(len(lines)))
        elif what == 4:
            text = text.replace(_one_of(rng, [b'"', b"=", b"[", b"]", b".", b"\n"]), b"", 1)
        elif what == 5:
            odd = _one_of(rng, ["\ufeff", "é", "\u2028", "🦆", "\x00", "\x1b[2J", "= =", "'''"])
            text = text[:at] + odd.encode() + text[at:]
        else:
            text = text[:at] + _one_of(rng, [b"9" * 5000, b"[" * 500, b"x" * 20_000]) + text[at:]
    return text


CSV = [["a", "b", "y"], ["1", "2", "3"], ["-1", "0.5", "2"], ["0", "1e-3", "-1"], ["2", "1", "0"]]
CELLS = [
    "", " ", "nan", "NA", "inf", "-inf", "1e400", "9" * 400, "1,5", '"', '"1', "'2'", "1;2", "x",
    "0x10", "1_000", "١٢", "\x00", "\x1b[31m", "=1+1", "TRUE", "2020-01-01", "🦆", "1 2", "1e308",
    "-1e308", "y" * 5000, "b", "y",
]  # fmt: skip


def damaged_csv(rng: np.random.Generator) -> bytes:
    """A right csv file with other cells, ragged rows, other separators or encodings."""
    rows = [list(row) for row in CSV]
    for _ in range(int(rng.integers(0, 4))):
        row = rows[int(rng.integers(len(rows)))]
        at, what = int(rng.integers(len(row) + 1)), int(rng.integers(4))
        if what == 0:
            row.insert(at, _one_of(rng, CELLS))
        elif what == 1 and row:
            row.pop(min(at, len(row) - 1))
        elif row:
            row[min(at, len(row) - 1)] = _one_of(rng, CELLS)
    if rng.random() < 0.1:
        rows = rows[: int(rng.integers(0, 2))]
    separator, end = (
        _one_of(rng, [",", ",", ";", "\t", " ", "|"]),
        _one_of(rng, ["\n", "\r\n", "\r"]),
    )
    text = end.join(separator.join(row) for row in rows)
    encoding = _one_of(rng, ["utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"])
    held = text.encode(encoding, errors="replace")
    return held[: int(rng.integers(len(held) + 1))] if rng.random() < 0.15 else held


def damaged_npz(rng: np.random.Generator) -> bytes:
    """An archive with other shapes, types, names or values, cut, or with bytes changed."""
    held: dict[str, Any] = {"inputs": rng.normal(size=(4, 2)), "targets": np.array([1.0, 2, 3, 4])}
    if rng.random() < 0.3:
        held["weights"] = np.full(4, 0.25)
    name = _one_of(rng, held)
    changes: list[Callable[[np.ndarray], Any]] = [
        lambda a: a.astype(complex),
        lambda a: a.astype(object),
        lambda a: a.astype(str),
        lambda a: a.astype("M8[s]"),
        lambda a: a.astype(bool),
        lambda a: a.astype(np.float16),
        lambda a: a.astype(np.longdouble),
        lambda a: a * NAN,
        lambda a: a * INF,
        lambda a: a * 1e300,
        lambda a: -a,
        lambda a: a * 0,
        lambda a: a[:0],
        lambda a: a[:1],
        lambda a: a[None, None],
        lambda a: np.float64(1.0),
        lambda a: np.zeros((4, 0)),
        lambda a: np.zeros(4, [("x", float)]),
        lambda a: np.ma.masked_invalid(a),
        lambda a: np.zeros((4, 5000)),
    ]
    held[name] = _one_of(rng, changes)(held[name])
    if rng.random() < 0.2:
        held[_one_of(rng, ["Inputs", "x", "", "a/b", "../c", "é"])] = held.pop(name)
    made = io.BytesIO()
    if rng.random() < 0.1:
        np.save(made, held.get("inputs", np.zeros(2)), allow_pickle=True)
    else:
        np.savez(made, allow_pickle=True, **held)
    whole = bytearray(made.getvalue())
    spoil = rng.random()
    if spoil < 0.2:
        return bytes(whole[: int(rng.integers(len(whole)))])
    if spoil < 0.4:
        for at in rng.integers(len(whole), size=10):
            whole[at] = int(rng.integers(256))
    if 0.4 < spoil < 0.45:
        with zipfile.ZipFile(made, "a") as archive:
            archive.writestr("readme.txt", "no array")
        return made.getvalue()
    return bytes(whole)


RESULTS = ("limit.nc", "networks.nc", "states.nc", "fluctuations.nc", "bias.nc")
TEXTS = ("problem.toml", "provenance.json", "comparison.json", "claims.json", "sweep.json")
JUNK = [
    b"", b"{", b"[]", b"{}", b"null", b"[1, 2]", b'{"limit": 3}', b"\xff\xfe", b"not netCDF",
    b'[{"verdict": 1}]', b'["../../etc"]', b'[""]', b'{"a": NaN}', b"0", b'"x"', b"CDF\x01\x00\x00",
]  # fmt: skip


def damaged_folder(rng: np.random.Generator, finished: Path, folder: Path) -> str:
    """A copy of a folder with results, one file of which is damaged; what was done."""
    shutil.copytree(finished, folder)
    netcdf = rng.random() < 0.75
    path = folder / _one_of(rng, RESULTS if netcdf else TEXTS)
    what = _one_of(rng, ["away", "cut", "bytes", "junk", "folder", *["inside"] * 8 * netcdf])
    whole = bytearray(path.read_bytes()) if path.is_file() else bytearray(b"{}")
    if what == "inside":
        return f"{path.name}: {_damaged_inside(rng, path)}"
    path.unlink(missing_ok=True)
    if what == "cut":
        path.write_bytes(whole[: int(rng.integers(len(whole)))])
    elif what == "bytes":
        for at in rng.integers(len(whole), size=20):
            whole[at] = int(rng.integers(256))
        path.write_bytes(whole)
    elif what == "junk":
        path.write_bytes(_one_of(rng, JUNK))
    elif what == "folder":
        path.mkdir()
    return f"{path.name}: {what}"


def _damaged_inside(rng: np.random.Generator, path: Path) -> str:
    """One variable or attribute of a netCDF file taken away, or given another value."""
    with h5py.File(path, "a") as file:
        groups: list[Any] = [file]
        file.visititems(
            lambda _, held: groups.append(held) if isinstance(held, h5py.Group) else None
        )
        group = groups[int(rng.integers(len(groups)))]
        if rng.random() < 0.5:
            names = [name for name in group.attrs if not name.startswith("_")]
            if names:
                return _damaged_attribute(rng, group.attrs, _one_of(rng, names))
        names = [name for name, held in group.items() if isinstance(held, h5py.Dataset)]
        if not names:
            return "nothing"
        return _damaged_variable(rng, group, _one_of(rng, names))


def _damaged_attribute(rng: np.random.Generator, held: Any, name: str) -> str:
    values = [None, "", "{", -1, NAN, 10**15, [1, 2, 3], "[1]", "é", b"\xff"]
    value = _one_of(rng, values)
    del held[name]
    if value is not None:
        held[name] = value
    return f"attribute {name} = {value!r}"


def _damaged_variable(rng: np.random.Generator, group: Any, name: str) -> str:
    what = _one_of(rng, ["away", "renamed", "NaN", "inf", "-1", "0"])
    if what == "away":
        del group[name]
    elif what == "renamed":
        group.move(name, f"{name}x")
    elif np.issubdtype(group[name].dtype, np.number) and group[name].size:
        value: Any = {"NaN": NAN, "inf": INF, "-1": -1, "0": 0}[what]
        whole = np.issubdtype(group[name].dtype, np.integer)
        group[name][...] = -7 if whole and what in ("NaN", "inf") else value
    return f"{name} {what}"


class Case(NamedTuple):
    """What was damaged, and how the command is called."""

    what: str
    arguments: list[str]


def case(number: int, folder: Path, finished: Path) -> Case:
    """Write the files of one case into a folder; every fourth is a folder with results."""
    rng = np.random.default_rng([SEED, number])
    kind = ("tables", "text", "data", "folder")[number % 4]
    run = folder / "run"
    if kind == "folder":
        what = damaged_folder(rng, finished, run)
        name = _one_of(rng, ["compare", "report", "compare", "report", "status", "run", "train"])
        own = [str(finished / "problem.toml"), "-o"] if name in ("run", "train") else []
        return Case(what, [name, *own, str(run)])
    path = folder / "p.toml"
    names = ["train", "solve", "run", "train", "run", "fluctuations", "width", "bias"]
    if kind == "tables":
        raw = damaged_tables(rng)
        names = ["sweep"] if "sweep" in raw else names
        path.write_bytes(tomli_w.dumps(raw).encode(errors="replace"))
    elif kind == "text":
        path.write_bytes(damaged_text(rng))
    else:
        kind = _one_of(rng, ["csv", "npz"])
        held = damaged_csv(rng) if kind == "csv" else damaged_npz(rng)
        (folder / f"data.{kind}").write_bytes(held)
        raw = base(rng) | {"data": {"source": kind, "path": f"data.{kind}"}}
        raw["data"] |= {"targets": ["y"]} if kind == "csv" else {}
        raw["data"] |= {"classes": True} if rng.random() < 0.2 else {}
        del raw["observe"]["inputs"]
        path.write_text(tomli_w.dumps(raw), encoding="utf-8")
    name = _one_of(rng, names)
    tail = ["--rms", "0.1"] if name == "width" else ["-o", str(run)]
    tail += ["--rms", "--tolerance", "0.5"] if name == "fluctuations" else []
    tail += ["--pairs", "2"] if name == "bias" else []
    return Case(kind, [name, str(path), *tail])
