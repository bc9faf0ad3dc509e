"""Random streams: disjoint, independent in pairs, repeatable, and the only ones there are."""

import ast
import itertools
from pathlib import Path

import jax
import numpy as np
import pytest
from scipy import stats

import widelimit
from widelimit.basics.streams import Stream, generator, key
from widelimit.nodes.rules import rules_for
from widelimit.problem.network.laws import Normal
from widelimit.problem.network.marks import Block

SOURCES = Path(widelimit.__file__).parent
PLACES = ((), (0,), (1,), (0, 0), (0, 1), (1, 0), (256, 0), (0, 0, 0))
SEEDS = (0, 1, 5, 2**32, 2**64)

FALSE_ALARM = 1e-4


def _words(stream, seed, place):
    """The words that NumPy hashes: the seed's, at least four (the size of its pool), the key's."""
    sequence = generator(stream, seed, *place).bit_generator.seed_seq
    assert isinstance(sequence, np.random.SeedSequence)
    assert isinstance(sequence.entropy, int)
    own = [sequence.entropy >> shift & 0xFFFFFFFF for shift in range(0, 256, 32)]
    while len(own) > 4 and own[-1] == 0:
        own.pop()
    assert max(sequence.spawn_key) < 2**32  # one word each
    return (*own, *sequence.spawn_key)


def _bare(words):
    """Words without the zeros at their end."""
    return words if not words or words[-1] else _bare(words[:-1])


def test_words_are_disjoint_by_construction():
    """No two streams and places have the same words, nor words that differ by zeros at the end.

    Words that differ by zeros are where NumPy's seeds [5] and [5, 0] are one stream. Every stream
    has places of one length; were there two, NumPy would tell them apart (next test).
    """
    for length in range(4):
        places = [place for place in PLACES if len(place) == length]
        found = [_words(*one) for one in itertools.product(Stream, SEEDS, places)]
        bare = {_bare(words) for words in found}
        assert len(bare) == len(set(found)) == len(found)


def test_states_and_keys_are_disjoint():
    """128 bits of NumPy's state and both words of JAX's key; places of all lengths."""
    places = [p for p in PLACES if len(p) < 3]
    found = list(itertools.product(Stream, (0, 1), places))
    states = {generator(s, seed, *p).bit_generator.state["state"]["state"] for s, seed, p in found}
    keys = {jax.random.key_data(key(s, seed, *p)).tobytes() for s, seed, p in found}
    assert len(states) == len(keys) == len(found)


@pytest.mark.parametrize("source", ["generator", "key"])
def test_pairs_of_streams_are_independent(source):
    """Correlations of 4,096 uniforms, all streams × neighbouring seeds × neighbouring places.

    Both the largest of 5,151 (Bonferroni) and the law of all p-values (Kolmogorov-Smirnov) are
    asked: false alarms have probability 1e-4 each.
    """
    found = list(itertools.product(Stream, (0, 1), ((0, 0), (0, 1), (1, 0))))
    if source == "generator":
        draws = [generator(s, seed, *place).random(4096) for s, seed, place in found]
    else:
        draws = [np.asarray(jax.random.uniform(key(s, seed, *p), (4096,))) for s, seed, p in found]
    correlations = np.corrcoef(draws)[np.triu_indices(len(found), 1)]
    p = 2 * stats.norm.sf(np.abs(correlations) * np.sqrt(4096))
    assert p.min() > FALSE_ALARM / len(p)
    assert stats.kstest(p, "uniform").pvalue > FALSE_ALARM


def test_streams_repeat():
    """The same numbers again, and others at another seed."""
    first = generator(Stream.NODES, 7, 1, 2).random(4)
    assert (first == generator(Stream.NODES, 7, 1, 2).random(4)).all()
    assert not (first == generator(Stream.NODES, 8, 1, 2).random(4)).any()
    assert jax.random.key_data(key(Stream.SAMPLE, 3)).tolist() == (
        jax.random.key_data(key(Stream.SAMPLE, 3)).tolist()
    )


@pytest.mark.parametrize(("entries", "name"), [(1, "lattice"), (1, "sobol"), (5, "sobol")])
def test_layers_with_equal_marks_have_uncorrelated_errors(entries, name):
    """Quadrature errors of four functions on two layers' nodes, over 400 scrambles.

    Point by point two scrambles of one Sobol dimension correlate by 0.75 (see `nodes.sobol`); their
    errors must not, or the error of a product of two averages would not be what replicates say.
    Rank correlations, all 16 pairs: false alarm 1e-4 in all.
    """
    (rule,) = (r for r in rules_for((Block("a", Normal(), entries),), np.eye(1)) if r.name == name)
    functions = (np.tanh, np.cos, lambda s: np.exp(s / 2), np.abs)

    def errors(layer):
        rows = []
        for scramble in range(400):
            nodes = rule.place(64, generator(Stream.NODES, 0, layer, scramble))
            s = nodes.points.sum(axis=1) + 0.3
            rows.append([nodes.weights @ function(s) for function in functions])
        return np.array(rows)

    _, chance = stats.spearmanr(errors(0), errors(1))
    found = np.asarray(chance)[:4, 4:]
    assert found.min() > FALSE_ALARM / found.size


def test_points_of_two_scrambles_correlate_one_by_one():
    """The reason why nothing pairs two rules by the index: |correlation| far above 5/√n."""
    (rule,) = rules_for((Block("a", Normal(), 5),), np.eye(1))
    found = []
    for scramble in range(20):
        x, y = (rule.place(256, generator(Stream.NODES, 0, layer, scramble)) for layer in (0, 1))
        found.append(abs(np.corrcoef(x.points[:, 0], y.points[:, 0])[0, 1]))
    assert np.median(found) > 5 / np.sqrt(256)


OWN_KEYS = {
    "basics/streams.py": "the streams",
    "networks/sampled.py": "networks' keys, promised in the problem file's documentation",
    "papers/data.py": "a data set",
    "papers/one_hidden_layer/claims.py": "a data set",
    "papers/residual/late.py": "a data set",
}
MAKERS = {"default_rng", "SeedSequence", "RandomState", "PRNGKey", "key", "wrap_key_data", "seed"}


def _makes_randomness(tree):
    """Calls such as np.random.default_rng(…), jax.random.key(…); and imports of `random`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            module = ast.unparse(node.func.value)
            if module.split(".")[-1] == "random" and node.func.attr in MAKERS:
                yield node.func.attr
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [getattr(node, "module", ""), *(alias.name for alias in node.names)]
            if (
                "random" in names
                or "numpy.random" in names
                or MAKERS & {"default_rng"} & set(names)
            ):
                yield "import"


def test_nothing_else_makes_random_numbers():
    """Read from the sources: every generator and key comes from `basics.streams`."""
    found = {
        path.relative_to(SOURCES).as_posix()
        for path in SOURCES.rglob("*.py")
        if list(_makes_randomness(ast.parse(path.read_text(encoding="utf-8"))))
    }
    assert found == set(OWN_KEYS)
