"""The progress bar of long work, on standard error."""

from tqdm import tqdm


def progress_bar(what: str, progress: bool | None = None, total: int | None = None) -> tqdm:
    """A bar that tells what is done and how long it has taken.

    `progress` shows or hides it; None shows it if standard error is a terminal.
    """
    return tqdm(
        total=total,
        desc=what,
        disable=None if progress is None else not progress,
        bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}",
    )
