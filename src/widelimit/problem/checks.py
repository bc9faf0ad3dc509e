"""Checks of a problem's sections, each by itself and against the others."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ValidationError

from widelimit.problem.data.population import OBSERVED, Population
from widelimit.problem.data.sources import Dataset
from widelimit.problem.functionals import Asked
from widelimit.problem.network.network import Network
from widelimit.problem.settings import ObserveSettings
from widelimit.problem.symmetry import folding_of


def valid_parts(model: type[BaseModel], raw: Mapping[str, Any]) -> dict[str, Any]:
    """The sections that are right by themselves, so that checks between them still run."""
    parts = {}
    for name in model.model_fields:
        probe: Any = {"network": {"activations": ["tanh"]}, "training": {"horizon": 1.0}}
        probe["data"] = {"source": "table", "inputs": [0.0], "targets": [0.0]}
        if name in raw or name not in probe:
            probe |= {name: raw[name]} if name in raw else {}
            try:
                parts[name] = getattr(model.model_validate(probe), name)
            except ValidationError:
                continue
    return parts


def loaded(parts: dict[str, Any], folder: Path, mistakes: list[str]) -> Dataset | None:
    """The data, or what is wrong with them added to the mistakes."""
    if parts.get("data") is None:
        return None
    try:
        return parts["data"].load(folder, parts.get("seed", 0))
    except ValueError as error:
        mistakes.append(f"data.{error}" if ":" in str(error).split(" ")[0] else f"data: {error}")
        return None


def cross_check(parts: dict[str, Any], data: Dataset | None) -> list[str]:
    """Mistakes that only show when sections are held against each other."""
    found: list[str] = []
    network, training = parts.get("network"), parts.get("training")
    if network is not None and data is not None:
        found += network.mismatches(data.inputs.shape[1], data.targets.shape[1])
    if network is not None and training is not None:
        found += training.mismatches(network)
        found += [] if found else training.unfit_for(network)
    if training is not None and data is not None:
        found += training.loss.mismatches(data.targets)
    if parts.get("limit") is not None and parts["limit"].how == "none":
        missing = "networks: is missing, and limit.how = 'none' leaves nothing else to compute"
        found += [missing] if parts.get("networks") is None else []
    if training is not None and parts.get("networks") is not None:
        found += parts["networks"].unfit_for(training)
    if isinstance(parts.get("data"), Population) and parts["data"].inputs.dimension == "inf":
        found += _at_infinity(parts)
    if network is not None and parts.get("networks") is not None:
        found += parts["networks"].mismatches(network, data)
    if None not in (network, training, data, parts.get("limit")) and not found:
        found += parts["limit"].mismatches(network, training, data)
    if parts.get("observe") is not None:
        found += parts["observe"].mismatches(
            training.horizon if training else None, data.inputs.shape[1] if data else None
        )
        if network is not None and data is not None:
            found += _unfit_functionals(parts, data)
    return found


def _unfit_functionals(parts: dict[str, Any], data: Dataset) -> list[str]:
    """Functionals that the problem has not got."""
    observe, network, folding = parts["observe"], parts["network"], None
    drawn = isinstance(parts["data"], Population)
    if drawn and data.fresh and parts.get("training") is not None:
        folding = folding_of(network, parts["training"], parts["data"])[0]
    kept = None if folding is None else folding.relevant
    outputs = len(observed(observe, data)) * data.targets.shape[1]
    found = observe.unfit(
        Asked(
            data.inputs.shape[1], len(network.spaces), outputs, kept, isinstance(network, Network)
        )
    )
    return found + [
        f"observe.functionals[{place}]: the data are no sample of a population: give one with "
        "data.samples" + (", or leave it out: risk is that of the population" if data.fresh else "")
        for place, functional in enumerate(observe.functionals)
        if functional.over_population and not (drawn and not data.fresh)
    ]


def observed(observe: ObserveSettings, data: Dataset) -> np.ndarray:
    """Inputs `(input, d)` at which outputs are kept: see `ObserveSettings`."""
    if observe.inputs is not None:
        return np.asarray(observe.inputs)
    return data.inputs[:OBSERVED] if data.fresh else data.inputs


def _at_infinity(parts: dict[str, Any]) -> list[str]:
    """What has no meaning at dimension "inf": networks, and limits without the symmetry."""
    place, found = "data.inputs.dimension: found 'inf'", []
    if parts.get("networks") is not None:
        found.append(f"{place} beside [networks]; networks have a finite dimension: leave one out")
    if parts.get("network") is not None and parts.get("training") is not None:
        folding, reason = folding_of(parts["network"], parts["training"], parts["data"])
        if folding is None:
            found.append(f"{place}, and its limit is not known: {reason}")
    return found
