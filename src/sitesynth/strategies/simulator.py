"""The simulator's main process: `python -m sitesynth.strategies.simulator JOB WORKSPACE SITES`.

It and its children end when its standard input does: when whoever started it closed the pipe, or
is no more. NVFlare's clients look once a second whether their parent lives, and then do the same.
"""

import os
import sys
import threading

import psutil
from nvflare.private.fed.app.simulator.simulator_runner import SimulatorRunner


__all__ = ["main"]


def main() -> None:
    """Run a job with one client process per site."""
    threading.Thread(target=_end_with_the_caller, daemon=True).start()
    job, workspace, sites = sys.argv[1:]
    runner = SimulatorRunner(
        job, workspace, clients=sites, threads=len(sites.split(",")), log_config="concise"
    )
    sys.exit(runner.run())


def _end_with_the_caller() -> None:
    """Wait for the end of the standard input, and then kill the children and oneself."""
    os.read(0, 1)
    for child in psutil.Process().children(recursive=True):
        child.kill()
    os._exit(1)


if __name__ == "__main__":
    main()
