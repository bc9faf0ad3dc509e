"""The folder of a reproduction: what was found about the claims of a paper."""

from typing import Any

from widelimit.basics.errors import RunFolderError
from widelimit.results.folders.runfolder import CLAIMS, RunFolder


class ClaimsFolder(RunFolder):
    """A folder with claims.json and the report."""

    def prepare_claims(self, name: str, overwrite: bool) -> None:
        """Make the folder ready for a reproduction; refuse the claims of another one."""
        found = self.provenance().get("reproduction", {}).get("name")
        if (self.path / CLAIMS).is_file() and found != name and not overwrite:
            raise RunFolderError(
                f"{self.path / CLAIMS} holds the claims of {found or 'something else'}; name "
                "another folder with -o, or replace it with --overwrite"
            )
        self._make()

    def save_claims(self, claims: list[dict[str, Any]], about: dict[str, Any]) -> None:
        """Write claims.json, and what the reproduction was (`name`, …) into the provenance."""
        self._write_json(CLAIMS, claims)
        self._write_provenance({"reproduction": about})
