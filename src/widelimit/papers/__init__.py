"""Papers whose systems are computed and whose claims are measured, by name.

A reproduction is a module with `claims(effort)`: problems, and what they should show. Efforts
differ in how many networks are trained, hence in power, never in the false-alarm rate.
"""

from difflib import get_close_matches
from importlib import import_module
from typing import Literal

from widelimit.basics.errors import ProblemError
from widelimit.basics.hands import all_ahead
from widelimit.basics.progress import progress as progress_of
from widelimit.basics.store import Store
from widelimit.papers.claims import Claim, Finding, checked

Effort = Literal["smoke", "quick", "full"]

PAPERS = {
    "one-hidden-layer": "one hidden layer, law of large numbers (Sirignano & Spiliopoulos 2020)",
    "central-limit": "fluctuations (Sirignano & Spiliopoulos 2020, CLT; Pham & Nguyen 2021)",
    "deep": "two and three hidden layers, limits in sequence (Sirignano & Spiliopoulos 2022)",
    "neuronal-embedding": "any depth, coupling by labels (Nguyen & Pham 2023; Pham & Nguyen 2021)",
    "landscape": "two layers, isotropic Gaussians (Mei, Montanari & Nguyen 2018)",
    "random-features": "deep, random features at both ends (Araújo, Oliveira & Yukimura 2019)",
    "residual": "residual networks, any width (Chizat 2025, 2026; Lu, Ma, Lu, Lu & Ying 2020)",
    "transformers": "heads of attention, any number of tokens (2605.11059, 2605.17660)",
}
"""Names and titles of the reproductions; each is in the folder of its name."""


WITH_MNIST = "one-hidden-layer"
"""The reproduction that has a claim about images, which can be those of MNIST."""


def find(name: str, mnist: bool = False) -> str:
    """The title of a reproduction.

    Raises `ProblemError` for a name that is not known, and if MNIST is asked for in vain.
    """
    if name not in PAPERS:
        near = get_close_matches(name, PAPERS, 1)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        known = ", ".join(PAPERS)
        raise ProblemError([f"found {name!r}; known are {known}{meant}"], "the reproduction")
    if mnist and name != WITH_MNIST:
        said = f"--mnist: found with {name!r}; only {WITH_MNIST!r} has a claim about images"
        raise ProblemError([said], "the reproduction")
    return PAPERS[name]


def claims_of(name: str, effort: Effort = "full", *, mnist: bool = False) -> list[Claim]:
    """The claims of a reproduction, not measured yet. Raises as `find` does."""
    find(name, mnist)
    asked = {"images": "mnist"} if mnist else {}
    paper = import_module(f"widelimit.papers.{name.replace('-', '_')}.claims")
    return paper.claims(effort, **asked)


def reproduce(
    name: str,
    effort: Effort = "full",
    *,
    mnist: bool = False,
    progress: bool | None = None,
) -> list[Finding]:
    """Measure every claim of a reproduction, each with its control.

    `mnist` takes the images of MNIST in place of scikit-learn's digits (they are downloaded once;
    `one-hidden-layer` only). `progress` shows a bar on standard error (None: if that is a
    terminal). Raises `ProblemError` for a name that is not known.
    """
    claims, findings = claims_of(name, effort, mnist=mnist), []
    all_ahead(
        "claims", check, lambda: {own.id: (name, effort, mnist, own.id) for own in claims}, progress
    )
    with progress_of("claims", progress, len(claims)) as told:
        for claim in claims:
            piece = told.piece()
            piece.at(0.0, claim.id)
            findings.append(check(name, effort, mnist, claim.id))
            piece.at(1.0, claim.id)
    return findings


def check(name: str, effort: Effort, mnist: bool, claim_id: str) -> Finding:
    """Measure one claim of a reproduction and its control. Raises as `find` does."""
    claims = {claim.id: claim for claim in claims_of(name, effort, mnist=mnist)}
    entry = Store.here().entry("claim", name, effort, mnist, claim_id)
    return checked(claims[claim_id], entry)
