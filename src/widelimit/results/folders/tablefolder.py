"""The folder of what was found from a table of runs: NAME.nc, NAME.json and a page."""

import hashlib
from pathlib import Path
from typing import Any

import xarray as xr

from widelimit import __version__
from widelimit.basics.errors import RunFolderError
from widelimit.results.folders.files import Files


class TableFolder(Files):
    """Results of one kind (`name`: "extrapolation", …) from one table."""

    def __init__(self, path: str | Path, name: str):
        super().__init__(path)
        self.name = name

    def prepare(self, given: str, overwrite: bool) -> str:
        """Make the folder ready; the digest of what results come from, such as a table's text.

        Raises `RunFolderError` where results of another are, unless they may be replaced.
        """
        digest = hashlib.sha256(given.encode()).hexdigest()
        path = self.path / f"{self.name}.nc"
        if path.exists() and not overwrite and self._attribute(path.name, "digest") != digest:
            raise RunFolderError(
                f"{path} holds results of something else; name another folder with -o, or replace "
                "it with --overwrite"
            )
        self._make()
        return digest

    def save(self, dataset: xr.Dataset, entries: dict[str, Any], page: str, digest: str) -> Path:
        """Write all three files; the path of the page."""
        facts = {"digest": digest, "widelimit": __version__}
        self._write_netcdf(f"{self.name}.nc", dataset.assign_attrs(facts))
        self._write_json(f"{self.name}.json", entries)
        self.save_text(f"{self.name}.html", page)
        return self.path / f"{self.name}.html"
