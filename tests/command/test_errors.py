"""Errors travel between processes as they are."""

import pickle

import pytest

from widelimit import Diverged, ProblemError, RunFolderError

ERRORS = [
    ProblemError(["training.horizon: found -1", "network: is missing"], "problem.toml"),
    Diverged("the limit", 2.5, "it grows without bound"),
    RunFolderError("no such folder"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_errors_come_back_from_other_processes(error):
    """Workers hand them over pickled: text and parts stay."""
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert vars(back) == vars(error)
