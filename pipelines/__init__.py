"""The stages of the study, one file each: read, call, write."""

import gc
import os
import sys


# Python calls itself "-m" until it has found the stage, so who imports `pipelines` otherwise keeps
# a collector, NumPy's threads and its own process.
if sys.argv[0] == "-m":
    # While a stage imports what it needs, half a million objects come and none goes: looking for
    # what may go is a fifth of its start, and again of its end (see `_stage.main`).
    gc.disable()
    # NumPy multiplies matrices too small to share out here. Its threads wait for each other by
    # spinning, on the cores that everything else is computed on.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

    from pipelines import _warm

    _warm.start_warm()
