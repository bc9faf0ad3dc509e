"""Laws that go with the width as a parametrisation asks, or are refused."""

from typing import Any

from widelimit.problem.network.embedding import Embedding

CENTRED = 1e-9
"""A law whose mean is so small, in units of its deviation, is centred."""


def refuse_missing(
    base_width: int | None, parametrisation: str, laws: Any, depth: int, biases: bool
) -> None:
    """Raise `ValueError` for a base width without all that a framework's network has."""
    if base_width is None:
        return
    if parametrisation == "mean field":
        raise ValueError(
            "base_width: is that of parametrisation = 'mup' or 'ntk'; give one of them"
        )
    asked = ("input", "readout", *["hidden"] * (depth > 1), *["bias"] * biases)
    if missing := [name for name in asked if not getattr(laws, name)]:
        raise ValueError(
            f"initial.{missing[0]}: is missing; with base_width say all laws as the framework has "
            "them (PyTorch: uniform on ±1/√fan-in)"
        )


def refuse_uncentred(name: str, initial: Any, finite: bool) -> None:
    """Raise `ValueError` for laws that "mup" or "ntk" cannot make as large as the root of n."""
    if finite:
        raise ValueError(f"ensembles: layers of finite width beside {name!r} are not built")
    laws: list[tuple[str, Any]] = [(f"hidden[{k}]", law) for k, law in enumerate(initial.hidden)]
    if name == "ntk":
        if initial.neuron:
            raise ValueError("initial.neuron: 'ntk' scales readouts alone; give laws apart")
        laws.append(("readout", initial.readout))
    for place, law in laws:
        if isinstance(law, Embedding) or law.joint:
            raise ValueError(f"initial.{place}: {name!r} needs a law of each entry")
        if abs(law.expectation()) > CENTRED * max(law.deviation(), CENTRED):
            raise ValueError(
                f"initial.{place}: found a law of mean {law.expectation():g}; {name!r} makes it as "
                "large as the root of the width, so that it must be centred"
            )
