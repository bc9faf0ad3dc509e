"""The problem file: defaults written out, every mistake in words, digests, data sources."""

import copy
import tomllib
from urllib.error import URLError

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.datasets import load_digits
from sklearn.datasets._openml import OpenMLError

from conftest import small_problem, table
from widelimit import Problem, ProblemError
from widelimit.problem.network.laws import Atoms

SECTIONS = ("seed", "network", "data", "training", "limit", "networks", "observe")

BASE = {
    "network": {"activations": ["tanh", "tanh"]},
    "data": {
        "source": "table",
        "inputs": [[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]],
        "targets": [0.0, 1.0, 2.0],
    },
    "training": {"horizon": 2.0},
    "networks": {"widths": [8]},
}


def changed(*changes, depth=2):
    """The base problem's tables with `("place.in.the.file", value)` pairs written in."""
    raw = copy.deepcopy(BASE)
    raw["network"]["activations"] = ["tanh"] * depth
    for place, value in changes:
        *path, key = place.split(".")
        here = raw
        for name in path:
            here = here.setdefault(name, {})
        here[key] = value
    return raw


def mistakes(raw, folder="."):
    with pytest.raises(ProblemError) as caught:
        Problem.from_dict(raw, folder)
    return caught.value.mistakes


def only_mistake(raw, folder="."):
    found = mistakes(raw, folder)
    assert len(found) == 1, found
    return found[0]


# Defaults and the round trip


def test_defaults_are_those_of_the_contract():
    raw = changed(depth=3)
    assert Problem.from_dict(raw).as_dict() == {
        "title": "problem",
        "format": 1,
        "seed": 0,
        "network": {
            "parametrisation": "mean field",
            "activations": ["tanh"] * 3,
            "layers": [{"map": "dense", "skip": 0}],
            "biases": False,
            "output_bias": False,
            "scale": 1.0,
            "initial": {
                "input": {"law": "normal", "mean": 0.0, "std": 1.0},
                "hidden": [{"law": "normal", "mean": 0.5, "std": 1.0}] * 2,
                "readout": {"law": "normal", "mean": 1.0, "std": 1.0},
            },
        },
        "data": {**raw["data"], "targets": [[0.0], [1.0], [2.0]], "holdout": 0.0, "classes": False},
        "training": {
            "loss": "squared",
            "horizon": 2.0,
            "learning_rate": 1.0,
            "learning_rates": {"input": 1.0, "hidden": [1.0], "readout": 1.0},
            "sign_descent": False,
            "label_noise": 0.0,
            "temperature": 0.0,
        },
        "limit": {
            "tolerance": 1e-2,
            "how": "auto",
            "max_nodes": 16_384,
            "precision": "float64",
        },
        "networks": {
            "widths": [8],
            "seeds": 20,
            "method": "sgd",
            "step": "1/width",
            "batch": 1,
            "draw": "independent",
            "precision": "float32",
            "states": 1,
        },
        "observe": {"times": 11},
    }


ATOMS = {"law": "atoms", "points": [-1.0, 0.5, 2.0], "weights": [0.2, 0.3, 0.5]}
JOINT = {"law": "atoms", "points": [[1.0, 2.0, 3.0, 4.0], [0.1, 0.2, 0.3, 0.4]]}
EVERYTHING = (
    ("title", 'quotes " and \\ and <tags>, ξ'),
    ("seed", 7),
    ("network.biases", True),
    ("network.output_bias", True),
    ("network.initial", {"input": ATOMS, "hidden": {"law": "uniform", "low": -1, "high": 2}}),
    ("network.initial.bias", [{"law": "normal"}, ATOMS]),
    ("data.weights", [0.25, 0.25, 0.5]),
    ("data.holdout", 0.34),
    ("training.learning_rates", {"hidden": [0.5], "bias": [1, 2, 3], "readout": 0}),
    ("limit", {"tolerance": 0.1, "max_nodes": 512, "precision": "float32"}),
    ("networks", {"widths": [4, [8, 16]], "method": "gd", "step": 1, "batch": 2, "seeds": 3}),
    ("observe", {"times": [0, 0.5, 2], "inputs": [[0.1, 0.2]]}),
)


@pytest.mark.parametrize(
    "raw",
    [
        changed(),
        changed(depth=1),
        changed(*EVERYTHING),
        changed(("network.initial.neuron", JOINT), ("network.biases", True), depth=1),
    ],
    ids=["depth 2", "depth 1", "everything", "neuron"],
)
def test_problem_survives_its_own_file(raw, tmp_path):
    problem = Problem.from_dict(raw)
    path = tmp_path / "copy.toml"
    path.write_text(problem.to_toml(), encoding="utf-8")
    again = Problem.from_file(path)
    assert again.as_dict() == problem.as_dict()
    assert again.to_toml() == problem.to_toml()
    for section in SECTIONS:
        assert again.digest(section) == problem.digest(section), section


def test_what_was_written_is_what_is_read():
    problem = Problem.from_dict(changed(*EVERYTHING))
    written = tomllib.loads(problem.to_toml())
    assert written["network"]["initial"]["input"] == ATOMS
    assert written["networks"]["widths"] == [4, [8, 16]]
    assert written["networks"]["step"] == 1.0
    assert written["training"]["learning_rates"]["bias"] == [1.0, 2.0, 3.0]
    assert problem.network.depth == 2
    assert problem.times.tolist() == [0.0, 0.5, 2.0]
    assert problem.observed_inputs.tolist() == [[0.1, 0.2]]


@pytest.mark.parametrize("count", [3, 7, 49, 103])
def test_weights_normalised_once_stay_as_they_are(count):
    """Weights that sum to 1 only within 1e-6: the written file must not drift when read again."""
    rng = np.random.default_rng(count)
    weights = rng.dirichlet(np.ones(count)) * (1 + 5e-7)
    law = {"law": "atoms", "points": list(range(count)), "weights": weights.tolist()}
    once = Problem.from_dict(changed(("network.initial.input", law)))
    twice = Problem.from_dict(once.as_dict())
    assert twice.digest("network") == once.digest("network")
    found = once.network.initial.input
    assert isinstance(found, Atoms)
    assert np.sum(found.weights or 0.0) == pytest.approx(1, rel=1e-14)


def test_title_is_the_file_name_unless_given(tmp_path):
    path = tmp_path / "digits-again.toml"
    path.write_text(small_problem().to_toml().replace('title = "problem"\n', ""), encoding="utf-8")
    assert Problem.from_file(path).title == "digits-again"


def test_changes_are_checked_again():
    problem = small_problem()
    other = problem.with_changes(networks={"widths": [64]}, seed=3)
    assert (other.networks.widths, other.networks.seeds, other.seed) == (((64,),), 5, 3)
    with pytest.raises(ProblemError, match="seed: found -1"):
        problem.with_changes(seed=-1)


# Mistakes: (place, value, what the sentence must hold besides its place)

MISSPELT = [
    ("trainin", {}, ["did you mean 'training'"]),
    ("training.horizn", 1.0, ["did you mean 'horizon'"]),
    ("network.activation", ["tanh"], ["did you mean 'activations'"]),
    ("network.initial.redout", {"law": "normal"}, ["did you mean 'readout'"]),
    ("network.initial.input", {"law": "normal", "men": 0.0}, ["input.men:", "did you mean 'mean'"]),
    ("networks.width", [8], ["did you mean 'widths'"]),
    ("data.target", [1.0], ["did you mean 'targets'"]),
    ("limit.tolerence", 0.1, ["did you mean 'tolerance'"]),
    ("observe.time", 3, ["did you mean 'times'"]),
    ("training.learning_rates.redout", 1.0, ["did you mean 'readout'"]),
    ("training.zzz", 1.0, ["the known keys here are loss, horizon, learning_rate, learning_rates"]),
]

WRONG_TYPE = [
    ("title", 3, ["found 3", "string"]),
    ("seed", 1.5, ["found 1.5", "integer"]),
    ("seed", True, ["found True", "integer"]),
    ("network", "tanh", ["found 'tanh'", "must be a table"]),
    ("data", [1], ["found [1]", "must be a table"]),
    ("limit", 0.1, ["found 0.1", "must be a table"]),
    ("network.activations", "tanh", ["found 'tanh'", "must be a list"]),
    ("network.activations", [], ["found []", "at least 1 entry"]),
    ("network.activations", ["tanh", 1], ["activations[1]: found 1", "string"]),
    ("network.biases", "yes", ["found 'yes'", "boolean"]),
    ("network.initial.input", 1.0, ["found 1.0", "must be a table"]),
    ("data.inputs", "many", ["must be a non-empty list of numbers"]),
    ("data.inputs", [[0, 1], [1, 0], [1, True]], ["row 2 holds True", "not a number"]),
    ("data.targets", [0, 1, 10**400], ["row 2", "too large"]),
    ("training.horizon", "2.0", ["found '2.0'", "number"]),
    ("training.horizon", True, ["found True", "number"]),
    ("training.learning_rates", 1.0, ["found 1.0", "must be a table"]),
    ("limit.max_nodes", 100.0, ["found 100.0", "integer"]),
    ("networks.widths", 8, ["must be a list of widths"]),
    ("networks.widths", [8.5], ["widths[0]: found 8.5", "integer"]),
    ("networks.step", "1/n", ["found '1/n'", "'1/width'"]),
    ("observe.times", "often", ["found 'often'", "count of times or a list"]),
    ("observe.times", ["a"], ["'a'", "not a number"]),
    ("observe.inputs", 1.0, ["must be a non-empty list of numbers"]),
]

UNKNOWN_NAME = [
    ("network.activations", ["tanh", "step"], ["found 'step'", "relu, sigmoid, silu, sin", "tanh"]),
    (
        "network.initial.input.law",
        "gauss",
        ["found 'gauss'", "'normal', 'uniform', 'truncated normal'"],
    ),
    ("network.initial.hidden", [{"law": "nrmal"}], ["hidden[0].law", "did you mean 'normal'"]),
    ("network.initial.readout", {"mean": 1.0}, ["readout.law: is missing", "'normal', 'uniform'"]),
    ("training.loss", "hinge", ["found 'hinge'", "the known losses are squared"]),
    ("data.source", "mnist", ["found 'mnist'", "'table', 'csv', 'npz', 'digits', 'openml'"]),
    ("data", {}, ["data.source: is missing", "'table', 'csv', 'npz', 'digits', 'openml'"]),
    ("networks.method", "adam", ["found 'adam'", "'sgd', 'gd' or 'flow'"]),
    ("networks.draw", "all", ["found 'all'", "'independent', 'distinct' or 'epochs'"]),
    ("limit.precision", "float16", ["found 'float16'", "'float64' or 'float32'"]),
    ("format", 2, ["found 2", "must be 1"]),
]

OUT_OF_RANGE = [
    ("seed", -1, ["found -1", "greater than or equal to 0"]),
    ("seed", 2**32, ["found 4294967296", "less than"]),
    ("training.horizon", -1.0, ["found -1.0", "greater than 0"]),
    ("training.horizon", 0.0, ["found 0.0", "greater than 0"]),
    ("training.horizon", float("inf"), ["found inf", "finite"]),
    ("training.learning_rates.input", -0.5, ["found -0.5", "greater than or equal to 0"]),
    ("limit.tolerance", -0.01, ["found -0.01", "greater than 0"]),
    ("limit.tolerance", float("nan"), ["found nan", "finite"]),
    ("limit.max_nodes", 0, ["found 0", "greater than or equal to 1"]),
    ("networks.widths", [8, -16], ["widths[1]: found -16", "greater than or equal to 1"]),
    ("networks.widths", [], ["found []", "at least 1"]),
    ("networks.widths", [8, [8, 8]], ["found [8, 8] more than once"]),
    ("networks.step", -0.1, ["found -0.1", "positive number or '1/width'"]),
    ("networks.step", 0, ["found 0", "positive number or '1/width'"]),
    ("networks.step", 10**400, ["found 1000", "positive number or '1/width'"]),
    ("networks.seeds", 0, ["found 0", "greater than or equal to 1"]),
    ("networks.states", 50, ["found 50, more than the 20 seeds", "kept whole"]),
    ("networks.batch", 0, ["found 0", "greater than or equal to 1"]),
    ("data.holdout", 1.0, ["found 1.0", "less than 1"]),
    ("data.holdout", 0.99, ["found 0.99", "no training point of 3"]),
    ("observe.times", [0.0, 2.5], ["found 2.5", "beyond the horizon 2.0"]),
    ("observe.times", [0.0, 1.0, 1.0], ["increasing"]),
    ("observe.times", [1.0, 0.5], ["increasing"]),
    ("observe.times", [], ["non-empty"]),
    ("observe.times", [-1.0, 0.0], ["-1.0", "from 0 on"]),
    ("observe.times", [0.0, float("nan")], ["nan", "from 0 on"]),
    ("observe.times", 1, ["found 1", "at least 2"]),
]


def law(points, weights=None):
    return {"law": "atoms", "points": points} | ({"weights": weights} if weights else {})


ATOM_LAWS = [
    ("network.initial.input", law([0.0, 1.0], [0.5, 0.4]), ["input.weights", "sum to 0.9"]),
    ("network.initial.input", law([0.0, 1.0], [0.5, 0.50001]), ["weights", "sum to 1.00001"]),
    ("network.initial.input", law([0.0, 1.0], [1.0]), ["weights", "1 weights for 2 points"]),
    ("network.initial.input", law([0.0, 1.0], [1.5, -0.5]), ["weights", "-0.5", "negative"]),
    ("network.initial.input", law([[0.0] * 3]), ["initial.input", "3 entries", "ask for 2"]),
    ("network.initial.readout", law([[0.0] * 2]), ["initial.readout", "2 entries", "ask for 1"]),
    ("network.initial.input", law([[0.0, 1.0], [2.0]]), ["points", "point 1 has 1 entries"]),
    ("network.initial.input", law([0.0, [1.0]]), ["points", "mixes numbers and vectors"]),
    ("network.initial.input", law([]), ["points", "non-empty"]),
    ("network.initial.input", law([0.0, float("inf")]), ["points", "point 1 holds inf"]),
    ("network.initial.input", law([10**400]), ["points", "point 0", "too large"]),
    ("network.initial.hidden", law([[1.0, 2.0]]), ["hidden[0]", "a law of vectors", "is a number"]),
    ("network.initial.input", {"law": "normal", "std": -1.0}, ["input.std", "found -1.0"]),
    ("network.initial.input", {"law": "uniform", "low": 2.0, "high": 1.0}, ["low = 2.0", "swap"]),
    ("network.initial.neuron", law([[1.0, 2.0, 3.0]]), ["neuron", "one hidden layer"]),
]

LENGTHS = [
    ("network.initial.hidden", [{"law": "normal"}] * 2, ["found 2 laws", "needs 1"]),
    ("network.initial.bias", {"law": "normal"}, ["biases = false", "set biases = true"]),
    ("training.learning_rates.hidden", [1.0, 1.0], ["found 2 rates", "give one"]),
    ("training.learning_rates.bias", [1.0] * 4, ["found 4 rates", "give one, 2 or 3"]),
    ("networks.widths", [[8, 8, 8]], ["found [8, 8, 8]", "each of 2 layers"]),
    ("data.targets", [0.0, 1.0], ["found 2 targets for 3 inputs"]),
    ("data.inputs", [[0.0, 1.0], [1.0]], ["row 1 has 1 entries", "row 0 has 2"]),
    ("data.weights", [0.5, 0.5], ["2 weights for 3 points"]),
    ("data.weights", [0.5, 0.5, 0.5], ["sum to 1.5"]),
    ("data.weights", [1.0, 0.5, -0.5], ["-0.5", "negative"]),
    ("observe.inputs", [[1.0]], ["found rows of 1", "the data have 2"]),
]

NOT_FINITE = [
    ("data.targets", [0.0, float("nan"), 1.0], ["NaN or infinity in row 1;"]),
    ("data.targets", [0.0, float("nan"), float("inf")], ["in row 1 and 1 more"]),
    ("data.inputs", [[0, 0], [0, 0], [0, float("-inf")]], ["NaN or infinity in row 2"]),
    ("observe.inputs", [[0.0, float("nan")]], ["NaN or infinity"]),
]

ALL_MISTAKES = [
    *MISSPELT,
    *WRONG_TYPE,
    *UNKNOWN_NAME,
    *OUT_OF_RANGE,
    *ATOM_LAWS,
    *LENGTHS,
    *NOT_FINITE,
]


def _name(value):
    text = value if isinstance(value, str) else repr(value)
    return text[:40]


@pytest.mark.parametrize(("place", "value", "said"), ALL_MISTAKES, ids=_name)
def test_mistake_is_told_with_place_finding_and_hint(place, value, said):
    raw = (
        changed((place, value))
        if place != "network.initial.input.law"
        else changed(("network.initial.input", {"law": value}))
    )
    sentence = only_mistake(raw)
    assert sentence.startswith(place)
    assert sentence.removeprefix(place)[0] in ":.["
    for words in said:
        assert words in sentence


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (("network.initial.hidden", {"law": "normal"}), "network.initial.hidden: there are no"),
        (("training.learning_rates.hidden", 1.0), "training.learning_rates.hidden: there are no"),
        (
            ("network.initial.neuron", law([[1.0, 2.0]])),
            "initial.neuron: is a law of vectors with 2",
        ),
        (("network.initial.neuron", law([1.0])), "neuron.points: needs vectors of 3"),
        (("network.initial.neuron", {"law": "normal"}), "neuron.law: found 'normal'"),
        (
            ("network.initial", {"neuron": law([[1.0, 2.0, 3.0]]), "input": {"law": "normal"}}),
            "network.initial.neuron: takes the place of input, bias and readout",
        ),
    ],
)
def test_what_depth_one_does_not_have(changes, said):
    assert any(said in sentence for sentence in mistakes(changed(changes, depth=1)))


@pytest.mark.parametrize("count", [1, 3])
def test_bias_laws_need_one_each_layer(count):
    raw = changed(("network.biases", True), ("network.initial.bias", [{"law": "normal"}] * count))
    assert only_mistake(raw) == f"network.initial.bias: found {count} laws, needs 2"


@pytest.mark.parametrize("name", ["distinct", "epochs"])
def test_drawing_without_replacement_needs_enough_equal_points(name):
    raw = changed(("networks.draw", name), ("networks.batch", 4))
    assert only_mistake(raw).startswith("networks.batch: found 4, more than the 3 training points")
    raw = changed(("networks.draw", name), ("data.weights", [0.25, 0.25, 0.5]))
    assert only_mistake(raw) == f"networks.draw: {name!r} needs equal data weights"
    # the holdout takes points away: 3 of 4 are left, then 2
    raw = changed(("networks.draw", name), ("networks.batch", 3), ("data.holdout", 0.34))
    assert "more than the 2 training points" in only_mistake(raw)


def test_all_mistakes_are_told_at_once():
    found = mistakes(
        changed(
            ("sead", 1),
            ("network.activations", ["tanh", "tanhh"]),
            ("data.weights", [0.5, 0.5, 0.5]),
            ("training.horizon", -1.0),
            ("limit.tolerance", "small"),
            ("networks.widths", [[8, 8, 8]]),
            ("networks.seed", 3),
            ("observe.times", [1.0, 0.0]),
        )
    )
    places = {sentence.split(":")[0] for sentence in found}
    assert places >= {
        "sead",
        "network.activations[1]",
        "data.weights",
        "training.horizon",
        "limit.tolerance",
        "networks.seed",
        "observe.times",
    }
    assert len(found) == len(set(found))


def test_sections_are_held_against_each_other_although_another_is_wrong():
    found = mistakes(
        changed(
            ("training.horizon", -1.0),
            ("network.initial.input", law([[1.0, 2.0, 3.0]])),
            ("networks.widths", [[8, 8, 8]]),
        )
    )
    places = [sentence.split(":")[0] for sentence in found]
    assert places == ["training.horizon", "network.initial.input", "networks.widths"]


def test_what_is_required():
    found = mistakes({})
    assert [sentence.split(";")[0] for sentence in found] == [
        "network: is missing",
        "data: is missing",
        "training: is missing",
    ]
    raw = changed(("network", {}), ("training", {}), ("networks", {}))
    places = [sentence.split(":")[0] for sentence in mistakes(raw)]
    assert places == ["network.activations", "training.horizon", "networks.widths"]


def test_message_counts_mistakes_and_names_the_file(tmp_path):
    path = tmp_path / "wrong.toml"
    path.write_text("[training]\nhorizon = 1.0\n", encoding="utf-8")
    with pytest.raises(ProblemError) as caught:
        Problem.from_file(path)
    first, *rest = str(caught.value).splitlines()
    assert first == f"{path}: 2 mistakes"
    assert [line.split(":")[0] for line in rest] == ["  network", "  data"]


# Files that cannot be read


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file"),
        (b"title = 'a\n", "is not TOML"),
        (b"title = '\xff\xfe'\n", "not UTF-8"),
    ],
)
def test_problem_file_that_cannot_be_read(tmp_path, content, said):
    path = tmp_path / "p.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ProblemError, match=said) as caught:
        Problem.from_file(path)
    assert caught.value.source == str(path)


def test_folder_instead_of_problem_file(tmp_path):
    with pytest.raises(ProblemError, match="cannot be read: Is a directory"):
        Problem.from_file(tmp_path)


def from_csv(tmp_path, content, **keys):
    (tmp_path / "rows.csv").write_bytes(content)
    return changed(("data", {"source": "csv", "path": "rows.csv", "targets": ["y"], **keys}))


@pytest.mark.parametrize(
    ("content", "place", "said"),
    [
        (b"", "data.path", "cannot be read as csv"),
        (b"a,b,y\n", "data", "no rows"),
        (b"a,b\n1,2\n", "data.targets", "no column 'y' in rows.csv; it has a, b"),
        (b"y\n1\n", "data.targets", "no inputs are left"),
        (b"a,y\n1,2\n3,\n", "data.targets", "NaN or infinity in data row 2"),
        (b"a,y\n1,2\n3\n", "data.targets", "NaN or infinity in data row 2"),
        (b"a,y\n1,2\ninf,4\n", "data.inputs", "NaN or infinity in data row 2"),
        (b"a,y\n1,2\nblue,4\n", "data.path", "data row 2 of rows.csv, column 'a', holds 'blue'"),
        (b"a,y\n1,2,3\n4,5,6\n", "data.path", "cannot be read as csv"),
        (b"a,y\n1,2\n4,5,6\n", "data.path", "cannot be read as csv"),
        (b"\xff\xfea,y\n1,2\n", "data.path", "cannot be read as csv"),
    ],
)
def test_csv_that_cannot_be_used(tmp_path, content, place, said):
    sentence = only_mistake(from_csv(tmp_path, content), tmp_path)
    assert sentence.startswith(f"{place}: ")
    assert said in sentence


@pytest.mark.parametrize("source", ["csv", "npz"])
def test_missing_data_file(tmp_path, source):
    keys = {"targets": ["y"]} if source == "csv" else {}
    raw = changed(("data", {"source": source, "path": f"gone.{source}", **keys}))
    expected = f"data.path: found no file {tmp_path / f'gone.{source}'}"
    assert only_mistake(raw, tmp_path) == expected


def test_csv_targets_named_twice_or_not_as_a_list(tmp_path):
    raw = from_csv(tmp_path, b"a,y\n1,2\n", targets=["y", "y"])
    assert only_mistake(raw, tmp_path) == "data.targets: found 'y' more than once"
    raw = from_csv(tmp_path, b"a,y\n1,2\n", targets="y")
    assert only_mistake(raw, tmp_path) == "data.targets: found 'y'; must be a list"


ROWS, COLUMN = np.ones((3, 2)), np.ones(3)
OBJECTS = np.array([{}, {}, {}], dtype=object)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"inputs": ROWS}, "path: a.npz has no array 'targets'; it has inputs"),
        ({"inputs": ROWS, "targets": OBJECTS}, "Python objects"),
        ({"inputs": ROWS, "targets": COLUMN[:2]}, "targets: found 2 targets for 3 inputs"),
        ({"inputs": ROWS * 1j, "targets": COLUMN}, "inputs in a.npz must be real numbers"),
        ({"inputs": np.ones((3, 2, 2)), "targets": COLUMN}, "on 1 or 2 axes"),
        ({"inputs": np.ones((3, 0)), "targets": COLUMN}, "on 1 or 2 axes"),
        ({"inputs": ROWS[:0], "targets": COLUMN[:0]}, "no rows"),
        ({"inputs": ROWS, "targets": COLUMN * np.nan}, "NaN or infinity in row 0 and 2 more"),
        ({"inputs": ROWS, "targets": COLUMN, "weights": ROWS}, "numbers on 1 axis"),
        ({"inputs": ROWS, "targets": COLUMN, "weights": COLUMN}, "weights: found weights that sum"),
        ({"inputs": ROWS, "targets": COLUMN, "weights": COLUMN * np.nan}, "sum to nan"),
    ],
    ids=lambda v: v if isinstance(v, str) else " ".join(v),
)
def test_npz_that_cannot_be_used(tmp_path, arrays, said):
    np.savez(tmp_path / "a.npz", **arrays)
    sentence = only_mistake(changed(("data", {"source": "npz", "path": "a.npz"})), tmp_path)
    assert sentence.startswith("data")
    assert said in sentence


def _archive(tmp_path):
    rng = np.random.default_rng(0)
    np.savez_compressed(tmp_path / "b.npz", inputs=rng.normal(size=(300, 2)), targets=np.ones(300))
    return (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda whole: b"",
        lambda whole: b"not an archive",
        lambda whole: b"PK\x03\x04 but no more",
        lambda whole: whole[:200],
        lambda whole: whole[:100] + b"xxxxxx" + whole[106:],
    ],
    ids=["empty", "text", "start only", "cut", "damaged"],
)
def test_npz_that_cannot_be_read(tmp_path, spoil):
    (tmp_path / "a.npz").write_bytes(spoil(_archive(tmp_path)))
    raw = changed(("data", {"source": "npz", "path": "a.npz"}))
    sentence = only_mistake(raw, tmp_path)
    assert sentence.startswith(f"data.path: {tmp_path / 'a.npz'} cannot be read as npz")


def test_npy_is_not_npz(tmp_path):
    np.save(tmp_path / "a.npy", ROWS)
    sentence = only_mistake(changed(("data", {"source": "npz", "path": "a.npy"})), tmp_path)
    assert "cannot be read as npz: it is a single array" in sentence


# Data sources and the holdout


def test_csv_loads_what_was_written(tmp_path):
    raw = from_csv(tmp_path, b"a,y,b,z\n1,2,3,4\n-5,6.5,7e-3,8\n", targets=["z", "y"])
    data = Problem.from_dict(raw, tmp_path).dataset
    assert data.inputs.tolist() == [[1, 3], [-5, 0.007]]
    assert data.targets.tolist() == [[4, 2], [8, 6.5]]
    assert data.channels == ("z", "y")
    assert data.weights.tolist() == [0.5, 0.5]


def test_npz_loads_what_was_written(tmp_path):
    x, y = np.arange(6.0).reshape(3, 2), np.array([3, 1, 2])
    np.savez(tmp_path / "a.npz", inputs=x, targets=y, weights=[0.5, 0.25, 0.25])
    raw = changed(("data", {"source": "npz", "path": "a.npz"}))
    data = Problem.from_dict(raw, tmp_path).dataset
    assert data.inputs.tolist() == x.tolist()
    assert data.targets.tolist() == [[3], [1], [2]]
    assert data.weights.tolist() == [0.5, 0.25, 0.25]


def test_digits_are_scikit_learns():
    raw = changed(("data", {"source": "digits"}))
    data = Problem.from_dict(raw).dataset
    inputs, labels = load_digits(return_X_y=True)
    assert data.inputs.shape == (1797, 64)
    assert data.inputs.max() == 1.0
    assert np.array_equal(data.inputs * 16, inputs)
    assert np.array_equal(data.targets.argmax(1), labels)
    assert data.one_hot


def _openml(monkeypatch, inputs, targets):
    """What openml.org is asked for, when it would answer with these arrays."""
    asked = []

    def fetch(name, **settings):
        asked.append((name, settings["version"]))
        return inputs, targets

    monkeypatch.setattr("sklearn.datasets.fetch_openml", fetch)
    return asked


def test_openml_scales_pixels_and_writes_labels_as_one_hot(monkeypatch):
    pixels = np.array([[0, 51], [255, 102], [0, 0]])
    asked = _openml(monkeypatch, pixels, np.array(["7", "1", "7"], dtype=object))
    raw = changed(("data", {"source": "openml", "name": "mnist_784"}))
    problem = Problem.from_dict(raw)
    data = problem.dataset
    assert asked == [("mnist_784", 1)]
    assert data.inputs.tolist() == [[0, 0.2], [1, 0.4], [0, 0]]
    assert data.targets.tolist() == [[0, 1], [1, 0], [0, 1]]
    assert data.channels == ("1", "7")
    assert problem.as_dict()["data"] == {
        "source": "openml",
        "name": "mnist_784",
        "version": 1,
        "holdout": 0.0,
        "classes": False,
    }


def test_openml_leaves_numeric_targets_as_they_are(monkeypatch):
    asked = _openml(monkeypatch, np.array([[-4.0, 1.0], [2.0, 2.0]]), np.array([3.5, -1.0]))
    raw = changed(("data", {"source": "openml", "name": "houses", "version": 3}))
    data = Problem.from_dict(raw).dataset
    assert asked == [("houses", 3)]
    assert data.inputs.tolist() == [[-1, 0.25], [0.5, 0.5]]
    assert data.targets.tolist() == [[3.5], [-1.0]]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (URLError("no route to host"), "'mnist' (version 1) is not on this machine yet and "),
        (OpenMLError("Dataset mnist with version 1 not found."), "version 1 not found"),
    ],
)
def test_openml_out_of_reach_is_told(monkeypatch, answer, said):
    def fetch(name, **settings):
        raise answer

    monkeypatch.setattr("sklearn.datasets.fetch_openml", fetch)
    with pytest.raises(ProblemError) as caught:
        Problem.from_dict(changed(("data", {"source": "openml", "name": "mnist"})))
    assert "data.name: " in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("inputs", "targets", "said"),
    [
        (csr_array(np.eye(2)), np.ones(2), "not a table of numbers"),
        (np.array([["red"], ["blue"]]), np.ones(2), "not a table of numbers"),
        (np.eye(2), np.array([["a", "b"], ["c", "d"]]), "several columns of class labels"),
        (np.eye(2), np.array(["a", None], dtype=object), "found no label in row 1"),
        (np.array([[1.0], [np.nan]]), np.ones(2), "found NaN or infinity in row 1"),
    ],
)
def test_openml_tables_that_do_not_fit(monkeypatch, inputs, targets, said):
    _openml(monkeypatch, inputs, targets)
    with pytest.raises(ProblemError, match=said):
        Problem.from_dict(changed(("data", {"source": "openml", "name": "some"})))


def _split(seed, holdout=0.3):
    raw = changed(("seed", seed), ("data", {**table(points=20), "holdout": holdout}))
    return Problem.from_dict(raw).dataset


@pytest.mark.parametrize(("holdout", "size"), [(0.0, 0), (0.3, 6), (0.5, 10), (0.95, 19)])
def test_holdout_has_its_size_and_no_row_twice(holdout, size):
    data, rows = _split(3, holdout), table(points=20)["inputs"]
    assert len(data.holdout_inputs) == len(data.holdout_targets) == size
    together = sorted([*data.inputs.tolist(), *data.holdout_inputs.tolist()])
    assert together == sorted(rows)
    np.testing.assert_allclose(data.weights, np.full(20 - size, 1 / (20 - size)), rtol=1e-14)


def test_holdout_keeps_inputs_and_targets_together():
    data, rows = _split(3), table(points=20)
    target = dict(zip(map(tuple, rows["inputs"]), rows["targets"], strict=True))
    for x, y in zip(data.holdout_inputs, data.holdout_targets, strict=True):
        assert target[tuple(x)] == y


def test_holdout_is_drawn_by_the_seed():
    assert _split(3).digest() == _split(3).digest()
    assert _split(3).holdout_inputs.tolist() != _split(4).holdout_inputs.tolist()


def test_holdout_rescales_the_weights_that_stay():
    rows = {**table(points=4), "weights": [0.1, 0.2, 0.3, 0.4], "holdout": 0.25}
    data = Problem.from_dict(changed(("data", rows))).dataset
    weight = dict(zip(map(tuple, rows["inputs"]), rows["weights"], strict=True))
    kept = np.array([weight[tuple(x)] for x in data.inputs])
    np.testing.assert_allclose(data.weights, kept / kept.sum(), rtol=1e-14)


# Digests


def test_widths_do_not_change_the_networks_digest():
    problem = Problem.from_dict(changed())
    wider = problem.with_changes(networks={"widths": [8, 16]})
    assert wider.digest("networks") == problem.digest("networks")
    for key, value in (("seeds", 3), ("step", 0.1), ("method", "gd"), ("batch", 2)):
        other = problem.with_changes(networks={key: value})
        assert other.digest("networks") != problem.digest("networks"), key


@pytest.mark.parametrize(
    ("place", "value", "section"),
    [
        ("seed", 1, "seed"),
        ("network.activations", ["tanh", "erf"], "network"),
        ("network.initial.readout", {"law": "normal", "mean": 0.9}, "network"),
        ("training.horizon", 3.0, "training"),
        ("limit.tolerance", 0.1, "limit"),
        ("observe.times", 3, "observe"),
        ("data.targets", [0.0, 1.0, 2.000001], "data"),
        ("data.weights", [0.5, 0.25, 0.25], "data"),
    ],
)
def test_digest_changes_in_the_section_that_changed_only(place, value, section):
    before, after = Problem.from_dict(changed()), Problem.from_dict(changed((place, value)))
    differ = [name for name in SECTIONS if before.digest(name) != after.digest(name)]
    assert differ == [section]


def test_title_is_no_part_of_any_digest():
    before, after = Problem.from_dict(changed()), Problem.from_dict(changed(("title", "other")))
    assert before.digest(*SECTIONS) == after.digest(*SECTIONS)


def test_data_digest_is_that_of_the_numbers(tmp_path):
    content = b"a,b,y\n1,2,3\n4,5,6\n"
    raw = from_csv(tmp_path, content)
    first = Problem.from_dict(raw, tmp_path).digest("data")
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    (moved / "other.csv").write_bytes(content)
    raw["data"]["path"] = "elsewhere/other.csv"
    assert Problem.from_dict(raw, tmp_path).digest("data") == first
    (moved / "other.csv").write_bytes(content.replace(b"5", b"5.0000001"))
    assert Problem.from_dict(raw, tmp_path).digest("data") != first


def test_written_path_finds_the_data_from_anywhere(tmp_path):
    problem = Problem.from_dict(from_csv(tmp_path, b"a,b,y\n1,2,3\n4,5,6\n"), tmp_path)
    run = tmp_path / "run"
    run.mkdir()
    (run / "problem.toml").write_text(problem.to_toml(), encoding="utf-8")
    again = Problem.from_file(run / "problem.toml")
    assert again.digest("data") == problem.digest("data")
    assert again.dataset.inputs.tolist() == [[1, 2], [4, 5]]
