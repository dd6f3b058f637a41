"""The process that copies journals into MLflow while stages run: `python -m sitesynth.recorder`.

It is started by the first stage of a `dvc repro`, serves the others too, and ends on its own. It
can be killed at any moment: a journal is deleted once MLflow has all of it, and copying one again
changes nothing.
"""

import os
import sys
import time

from sitesynth.tracking import is_locked, journal_folders, locked, recorder_lock


__all__ = ["main"]

POLL_S = 0.5

LINGER_S = 20.0
"""How long to wait for the next stage: starting a recorder takes longer than most of them."""


def main() -> None:
    """Copy journals until there have been none for a while."""
    # The stages need the processor more.
    os.nice(10)
    while journal_folders() and not is_locked(recorder_lock()):
        with locked(recorder_lock()):
            _copy_until_idle()
        # A stage that started just now saw the lock held: look once more.


def _copy_until_idle() -> None:
    """Copy journals until there have been none for `LINGER_S`."""
    # After the lock is taken, so that no second recorder is started while this takes its seconds.
    from sitesynth.mlruns import Mlruns  # noqa: PLC0415

    mlruns = Mlruns()
    busy = time.monotonic()
    while time.monotonic() - busy < LINGER_S:
        if not mlruns.is_there():
            # Whoever deleted the database gets a new recorder with the next stage.
            sys.exit()
        if journal_folders():
            mlruns.copy_journals()
            busy = time.monotonic()
        time.sleep(POLL_S)


if __name__ == "__main__":
    main()
