"""The stages of the study, one file each: read, call, write."""

import gc
import sys


# While a stage imports what it needs, half a million objects come and none goes: looking for what
# may go is a fifth of its start, and again of its end (see `_stage.main`). Python calls itself "-m"
# until it has found the stage, so who imports `pipelines` otherwise keeps a collector.
if sys.argv[0] == "-m":
    gc.disable()
