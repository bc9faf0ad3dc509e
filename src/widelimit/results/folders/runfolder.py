"""The run folder: what is written where, whole or not at all, and whose results they are."""

import logging
import platform
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import xarray as xr

from widelimit import __version__
from widelimit.basics.errors import RunFolderError
from widelimit.basics.store import kept_in
from widelimit.basics.words import shown
from widelimit.problem.problem import Problem
from widelimit.results.bias import Bias
from widelimit.results.comparison import Comparison
from widelimit.results.fluctuations import Fluctuations
from widelimit.results.folders.contents import is_claim, require_all_of, require_whole
from widelimit.results.folders.files import COMPRESSION, MOMENT, UNREADABLE, Files
from widelimit.results.trajectory import Trajectory

FILES = {
    "limit": "limit.nc",
    "networks": "networks.nc",
    "fluctuations": "fluctuations.nc",
    "bias": "bias.nc",
}
COMMANDS = {
    "limit": "solve",
    "networks": "train",
    "fluctuations": "fluctuations",
    "bias": "bias",
}
"""Which command makes which result."""
LOG = logging.getLogger(__name__)

UNFINISHED = "unfinished"
"""The folder of work on results that are not there yet."""

STATES = "states.nc"
CLAIMS = "claims.json"

SECTIONS = {
    "limit": ("seed", "network", "data", "training", "limit", "observe"),
    "networks": ("seed", "network", "data", "training", "networks", "observe"),
    "fluctuations": ("seed", "network", "data", "training", "networks", "observe"),
    "bias": ("seed", "network", "data", "training", "networks", "observe"),
}
"""The parts of a problem that a result depends on."""

SHARED = tuple(name for name in SECTIONS["limit"] if name in SECTIONS["networks"])

LIBRARIES = ("jax", "jaxlib", "diffrax", "equinox", "numpy", "scipy", "xarray")


class RunFolder(Files):
    """Results of one problem in one folder."""

    def prepare(
        self, problem: Problem, kinds: tuple[str, ...], overwrite: bool, patience: float = MOMENT
    ) -> None:
        """Make the folder ready for results of `kinds`; refuse results of another problem.

        A file that depends on nothing that `kinds` do not depend on is judged by all its sections,
        another one by those that all results share. With `overwrite`, results of another problem
        are removed, and with them what was made from both. A process that holds the folder is
        waited for so many seconds (`patience`).
        """
        _refuse_what_is_not_ours(self, problem)
        judged = set().union(*(SECTIONS[kind] for kind in kinds))
        for kind in FILES:
            whole = judged.issuperset(SECTIONS[kind])
            sections = SECTIONS[kind] if whole else SHARED
            name = "digest" if whole else "shared_digest"
            if not self.has(kind):
                continue
            found = self._attribute(FILES[kind], name)
            if found == problem.digest(*sections):
                continue
            if not overwrite:
                what = (
                    "cannot be read as a result of widelimit"
                    if found is None
                    else f"holds results of another problem (they depend on {', '.join(sections)})"
                )
                raise RunFolderError(
                    f"{self.path / FILES[kind]} {what}; name another folder with -o, or replace "
                    "it with --overwrite"
                )
            self._remove(kind)
        self.provenance()  # a damaged one is told before computing, not after
        self._make(patience)

    def has(self, kind: str) -> bool:
        """Whether results of this kind are here."""
        return (self.path / FILES[kind]).is_file()

    def problem(self) -> Problem:
        """The problem of this folder. Raises `RunFolderError` if there is none."""
        path = self.path / "problem.toml"
        if not path.is_file():
            raise RunFolderError(
                f"{self.path} is not a run folder: it has no problem.toml; make one with "
                "widelimit run PROBLEM.toml -o RUN"
            )
        return Problem.from_file(path)

    def save(self, trajectory: Trajectory, seconds: float) -> None:
        """Write a limit or networks, with their states, the problem and the provenance."""
        self._save(trajectory, trajectory.kind, seconds)

    def save_fluctuations(self, found: Fluctuations, seconds: float) -> None:
        """Write fluctuations.nc, the problem and the provenance."""
        self._save(found, "fluctuations", seconds)

    def save_bias(self, found: Bias, seconds: float) -> None:
        """Write bias.nc, the problem and the provenance."""
        self._save(found, "bias", seconds)

    def _save(self, result: Trajectory | Fluctuations | Bias, kind: str, seconds: float) -> None:
        problem, attrs = result.problem, result.dataset.attrs
        digest = problem.digest(*SECTIONS[kind])
        dataset = result.dataset.assign_attrs(
            digest=digest, shared_digest=problem.digest(*SHARED), wall_seconds=seconds
        )
        encoding = dict.fromkeys(dataset.data_vars, COMPRESSION)
        self._write("problem.toml", lambda p: p.write_text(problem.to_toml(), encoding="utf-8"))
        if isinstance(result, Trajectory):
            self._write_states(result, digest)
        self._write_netcdf(FILES[kind], dataset, encoding)
        self._write_provenance(
            {
                kind: {
                    "digest": digest,
                    "data": problem.dataset.digest(),
                    "precision": attrs["precision"],
                    "wall_seconds": round(seconds, 3),
                }
            }
        )

    @contextmanager
    def unfinished(self, kind: str) -> Iterator[None]:
        """Work on a result is kept in the folder until it is there whole: see `kept_in`."""
        place = self.path / UNFINISHED / kind
        with kept_in(place):
            yield
        shutil.rmtree(place, ignore_errors=True)
        with suppress(OSError):
            place.parent.rmdir()  # unless other work is kept there

    def places_of_work(self) -> dict[str, Path]:
        """By kind of result the folder where unfinished work on it is kept."""
        return {path.name: path for path in sorted((self.path / UNFINISHED).glob("*"))}

    def load(self, kind: str, *, states: bool = True) -> Trajectory:
        """Read a limit or networks back, their neurons' `states` only if these are asked for.

        Raises `RunFolderError` if they are not here, or damaged.
        """
        dataset = self._dataset(kind)
        problem = _same_problem(self, kind, dataset)
        groups = self._groups(STATES, dataset.attrs["digest"]) if states else {}
        return Trajectory(problem, dataset, xr.DataTree.from_dict(groups))

    def load_fluctuations(self) -> Fluctuations:
        """Read predicted fluctuations back. Raises `RunFolderError` if they are not here."""
        dataset = self._dataset("fluctuations")
        return Fluctuations(_same_problem(self, "fluctuations", dataset), dataset)

    def load_bias(self) -> Bias:
        """Read the measured bias back. Raises `RunFolderError` if it is not here."""
        dataset = self._dataset("bias")
        return Bias(_same_problem(self, "bias", dataset), dataset)

    def _dataset(self, kind: str) -> xr.Dataset:
        if not self.has(kind):
            raise RunFolderError(
                f"{self.path} has no {FILES[kind]}; make it with widelimit {COMMANDS[kind]}"
            )
        with _told_if_damaged(self.path / FILES[kind], kind):
            with xr.open_dataset(self.path / FILES[kind], engine="h5netcdf") as file:
                dataset = file.load()
            require_whole(kind, dataset)
        return dataset

    def save_comparison(self, comparison: Comparison) -> None:
        """Write comparison.json."""
        self._write_json("comparison.json", comparison.as_dict())

    def claims(self) -> list[dict[str, Any]]:
        """The entries of claims.json; none if there is no such file."""
        claims = self._read_json(CLAIMS, list)
        if not all(map(is_claim, claims)):
            raise RunFolderError(f"{self.path / CLAIMS} cannot be read: it is damaged; delete it")
        return claims

    def save_report(self, page: str) -> Path:
        """Write report.html and return its path."""
        self.save_text("report.html", page)
        return self.path / "report.html"

    def provenance(self) -> dict[str, Any]:
        """What is known about how the results came about."""
        return self._read_json("provenance.json", dict)

    def _remove(self, kind: str) -> None:
        """Take a result away, and what was made from it."""
        for name in (FILES[kind], "comparison.json", "report.html"):
            (self.path / name).unlink(missing_ok=True)

    def _write_provenance(self, entry: dict[str, Any]) -> None:
        """Add an entry to the provenance."""
        record = _known(self.provenance(), [kind for kind in FILES if self.has(kind)])
        self._write_json("provenance.json", record | entry)

    def _write_states(self, trajectory: Trajectory, digest: str) -> None:
        """Replace this kind's groups in states.nc and keep those of the other kind's result."""
        other = {"limit": "networks", "networks": "limit"}[trajectory.kind]
        try:
            groups = self._groups(STATES, self._attribute(FILES[other], "digest"))
        except RunFolderError:  # what was computed is worth more
            LOG.warning("%s is replaced, without what it held of the %s", STATES, other)
            groups = {}
        for name, group in trajectory.states.children.items():
            groups[name] = group.to_dataset().assign_attrs(digest=digest)
        self._write_groups(STATES, groups)


@contextmanager
def _told_if_damaged(path: Path, kind: str) -> Iterator[None]:
    """Raise `RunFolderError` where a result is found to be damaged."""
    try:
        yield
    except UNREADABLE as error:
        reason = shown(str(error)) if str(error) else type(error).__name__
        raise RunFolderError(
            f"{path} cannot be read: it is damaged or not a result of widelimit ({reason}); delete "
            f"it and make it again with widelimit {COMMANDS[kind]}"
        ) from None


def _same_problem(folder: RunFolder, kind: str, dataset: xr.Dataset) -> Problem:
    """The problem of a folder. Raises `RunFolderError` if a result is of another, or damaged."""
    problem, path = folder.problem(), folder.path / FILES[kind]
    if dataset.attrs.get("shared_digest") != problem.digest(*SHARED):
        raise RunFolderError(
            f"{path} belongs to another problem than {folder.path / 'problem.toml'}, which has "
            "been changed since, or its data have; undo that, or make the result again: widelimit "
            f"{COMMANDS[kind]} --overwrite"
        )
    with _told_if_damaged(path, kind):
        require_all_of(problem, kind, dataset)
    return problem


def _refuse_what_is_not_ours(folder: RunFolder, problem: Problem) -> None:
    """Raise `RunFolderError` where results would replace what no command has written.

    A kill in a first save may leave the problem alone, with the widths that were trained by then,
    beside work that is unfinished.
    """
    if folder.path.exists() and not folder.path.is_dir():
        raise RunFolderError(f"{folder.path} is not a folder; name another with -o")
    for name in (*FILES.values(), STATES, "problem.toml", "provenance.json"):
        if (folder.path / name).is_dir():
            raise RunFolderError(
                f"{folder.path / name} is a folder, and a result has that name; name another "
                "run folder with -o"
            )
    ours = (folder.path / name for name in ("provenance.json", UNFINISHED))
    own = any(path.exists() for path in ours) or any(map(folder.has, FILES))
    written = folder.path / "problem.toml"
    if own or not written.exists():
        return
    if written.read_bytes() != problem.to_toml().encode():
        raise RunFolderError(
            f"{written} is no result of widelimit, and would be replaced: "
            "name a folder for the run with -o"
        )


def _known(before: dict[str, Any], kept: Collection[str]) -> dict[str, Any]:
    """What is known already of the results that are kept, with the versions that are at work."""
    import jax

    replaced = set(FILES) - set(kept)
    record = {name: entry for name, entry in before.items() if name not in replaced}
    record["versions"] = {"widelimit": __version__} | {
        name: metadata.version(name) for name in LIBRARIES
    }
    return record | {"python": platform.python_version(), "device": jax.devices()[0].device_kind}
