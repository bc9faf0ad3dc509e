"""A job array for sites without Dask: a script for `sbatch`, and the list of its tasks."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from widelimit.command.workers.threads import one_thread

SCRIPT, LIST = "job-array.sbatch", "tasks.txt"

TEXT = """\
#!/bin/sh
# {count} members of a sweep, a task each: submit with  sbatch {script}
# Tasks that were killed go on where they were: submit again, those that are done end at once.
# When all are done, join them:  {command} sweep {problem} -o {run}
#SBATCH --job-name=widelimit
#SBATCH --array=0-{last}
#SBATCH --cpus-per-task=1
#SBATCH --mem=4G
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@60
#SBATCH --output={run}/task-%a.txt
{exports}
exec {command} member "$SLURM_ARRAY_TASK_ID" -o {run}
"""


def texts(run: Path, problem: Path, names: Sequence[str]) -> dict[Path, str]:
    """The text of the script and of the list, by their paths in the run folder."""
    script, tasks = run / SCRIPT, run / LIST
    installed = Path(sys.executable).with_name("widelimit")
    exports = [f"export {name}={shlex.quote(text)}" for name, text in one_thread().items()]
    text = TEXT.format(
        count=len(names),
        last=len(names) - 1,
        script=shlex.quote(str(script)),
        command=shlex.quote(str(installed)) if installed.exists() else "widelimit",
        problem=shlex.quote(str(problem.resolve())),
        run=shlex.quote(str(run.resolve())),
        exports="\n".join(exports),
    )
    return {script: text, tasks: "".join(f"{n} {name}\n" for n, name in enumerate(names))}
