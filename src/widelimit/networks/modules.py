"""Sizes in torch modules of several widths, looked at by forward hooks. Torch is optional."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import pandas as pd

from widelimit.basics.errors import ProblemError
from widelimit.basics.progress import progress as progress_of
from widelimit.runs.coordinates import OUTPUT

Make = Callable[..., Any]
"""From a width a fresh module, and what trains it by one step."""


def sizes_of_modules(
    make: Make,
    inputs: Any,
    widths: Sequence[int],
    seeds: int,
    steps: Sequence[int],
    progress: bool | None = None,
) -> pd.DataFrame:
    """Sizes of what layers with a weight give, by name, and of the module's output.

    Columns layer, step, width, seed, kind, size. Raises `ProblemError` if torch is not there, or
    `make` gives anything else than a module and a function.
    """
    if find_spec("torch") is None:
        raise ProblemError(["torch is not installed; it comes with pip install 'widelimit[torch]'"])
    import torch  # pyright: ignore[reportMissingImports]

    rows: list[dict[str, Any]] = []
    with progress_of("coordinate check", progress, len(widths) * seeds) as told:
        for width in widths:
            for seed in range(seeds):
                torch.manual_seed(seed)
                module, train = _checked(make(width), torch)
                rows += _along(module, train, inputs, steps, {"width": width, "seed": seed}, torch)
                told.piece().at(1.0, f"width {width}")
    return pd.DataFrame(rows)


def _checked(made: Any, torch: Any) -> tuple[Any, Callable[[], Any]]:
    """A module and its training step, or `ProblemError`."""
    module, train = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(module, torch.nn.Module) or not callable(train):
        raise ProblemError(
            [
                f"make(width): gave {type(made).__name__}; must give a module and a function "
                "that trains it by one step, as a pair"
            ]
        )
    return module, train


def _along(
    module: Any,
    train: Callable[[], Any],
    inputs: Any,
    steps: Sequence[int],
    place: dict[str, int],
    torch: Any,
) -> list[dict[str, Any]]:
    """Sizes and changes of one module while it trains."""
    rows, first = [], {}
    for k in range(max(steps) + 1):
        if k in steps or k == 0:
            now = _looked_at(module, inputs, torch)
            first = first or now
            for layer, value in now.items():
                kinds = {"size": value} | ({"change": value - first[layer]} if k > 0 else {})
                rows += [
                    {"layer": layer, "step": k, **place, "kind": kind}
                    | {"size": float(own.double().square().mean().sqrt())}
                    for kind, own in kinds.items()
                    if k in steps
                ]
        if k < max(steps):
            train()
    return rows


def _looked_at(module: Any, inputs: Any, torch: Any) -> dict[str, Any]:
    """What every layer with a weight gives, and the module."""
    found: dict[str, Any] = {}
    layers = {
        name: own
        for name, own in module.named_modules()
        if name and not list(own.children()) and hasattr(own, "weight")
    }
    hooks = [
        own.register_forward_hook(
            lambda _, __, given, name=name: found.update({name: given.detach().clone()})
        )
        for name, own in layers.items()
    ]
    training = module.training
    try:
        module.eval()
        with torch.no_grad():
            given = module(inputs).detach().clone()
    finally:
        module.train(training)
        for hook in hooks:
            hook.remove()
    if layers:
        found.pop(list(layers)[-1], None)  # the last one gives the output
    return {**found, OUTPUT: given}
