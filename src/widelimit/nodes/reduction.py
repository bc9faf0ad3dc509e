"""What is left of a problem in the limit: nodes for a population, fewer coordinates by symmetry."""

from typing import Any

from widelimit.nodes.measure import LOOKS, Measure
from widelimit.problem.data.population import Population
from widelimit.problem.data.sources import Dataset
from widelimit.problem.problem import Problem
from widelimit.problem.symmetry import folding_of


def reduced(problem: Problem, looks: int = LOOKS) -> Problem:
    """The problem as its limit sees it: nodes in place of a population, symmetries used.

    So many independent quadratures (`looks`) measure the risk. Finite data stay as they are.
    """
    population = problem.population
    if population is None:
        return problem
    folding = folding_of(problem.network, problem.training, population)[0]
    x = problem.observed_inputs
    changes: dict[str, Any] = {}
    if folding is not None:
        x, changes["network"] = folding.inputs(x), folding.network(problem.layers)
    changes["data"] = Measure(population=population, folding=folding, looks=looks)
    rows = tuple(map(tuple, x.tolist()))
    changes["observe"] = problem.observe.model_copy(update={"inputs": rows})
    return problem.with_parts(**changes)


def whole_population(problem: Problem) -> Dataset | None:
    """Quadratures of the population that the data are a sample of, where they are looked at."""
    if not any(functional.over_population for functional in problem.observe.functionals):
        return None
    assert isinstance(problem.data, Population)
    return Measure(population=problem.data, folding=None).load(problem.folder, problem.seed)
