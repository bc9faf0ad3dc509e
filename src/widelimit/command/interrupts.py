"""Interrupts: the first one ends work where Python can, the second one, or ten seconds, at once.

Ctrl-C, SIGTERM (what batch systems send before they kill) and SIGHUP are alike. Python sees a
signal when compiled code returns, which may take long; the system's wake-up file tells a thread
meanwhile. Files are written whole or not at all, so ending at once loses nothing that was complete.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

INTERRUPTED = 130
"""The exit status."""

PATIENCE = 8.0
"""Seconds that compiled code has to return; batch systems wait for ten and more."""

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


@contextmanager
def interruptible() -> Iterator[None]:
    """Signals end what is inside with `KeyboardInterrupt`, and the process if that is not heard."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    known = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
    numbers = [n for n in known if signal.getsignal(n) != signal.SIG_IGN]  # nohup stays nohup
    handlers = {number: signal.signal(number, _raise) for number in numbers}
    before = signal.set_wakeup_fd(ours.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(theirs, set(numbers)), daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        ours.close()


def _raise(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _watch(woken: socket.socket, numbers: set[int]) -> None:
    """Hear of signals while compiled code runs."""
    with woken:
        if _heard(woken, numbers):
            _second(woken, numbers)


def _second(woken: socket.socket, numbers: set[int]) -> None:
    """End the process after one more signal, or after a while if it goes on."""
    with suppress(OSError, ValueError):
        print("interrupting; once more ends at once", file=sys.stderr, flush=True)
    woken.settimeout(PATIENCE)
    with suppress(OSError):
        if not _heard(woken, numbers):
            return  # all was over in time
    with suppress(OSError, ValueError):
        print("interrupted; files that were complete stay", file=sys.stderr, flush=True)
    os._exit(INTERRUPTED)


def _heard(woken: socket.socket, numbers: set[int]) -> bool:
    """Wait for one of these signals; False if there will be none."""
    while found := woken.recv(1):
        if found[0] in numbers:
            return True
    return False
