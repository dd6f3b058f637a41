"""How a site's training grows with its scans and its grid, and what of the machine it uses.

For each grid and number of made-up scans, and for each network of the study in params.yaml:

- seconds of a step, and how many times those of the first row;
- floating-point operations of a step (matrix products, convolutions and attention, as torch's
  FlopCounterMode counts them), how many of them a second, and which share that is of what one large
  matrix product reaches in the same process, in the type in which the step computes;
- peak memory of the training above what the process held before, its share of the machine's, and,
  for the flow, how many times that of a plain tutorial loop on the same scans, which encodes them
  anew in each step (`benchmarks/training_step.py`, which compares the two's seconds);
- for the flow, seconds to encode all scans in the study's number of views, once.

Seconds are of the processor, by thread, so that what else runs on the machine counts for little; on
a GPU, of the clock.

    python -m benchmarks.scaling
    python -m benchmarks.scaling --grids 24x24x16 48x48x32 --scans 16 144

Each row is measured in a process of its own, whose memory is nobody else's. Some minutes.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, final

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.training_step import tutorial_seconds
from sitesynth import seeds
from sitesynth.generators.autoencoder import Autoencoder
from sitesynth.generators.autoencoder_training import train_autoencoder
from sitesynth.generators.diffusion import train_flow
from sitesynth.generators.latents import encode_scans, measure_scale
from sitesynth.images import ImageSet, read_images, write_index, write_voxels
from sitesynth.settings import PRESENCE, Settings, load_settings
from sitesynth.training import autocast, best_device


__all__ = ["Measured", "flops_of_a_step", "main", "matmul_peak"]

STEPS: Final = 16
WARM_UP: Final = 4
MATRIX: Final = 2048
PRODUCTS: Final = 8
MIB: Final = 2**20
KIB: Final = 2**10

Train = Callable[[int, Callable[[], None]], None]
"""Takes so many steps, and calls after each."""


@final
@dataclass(frozen=True, slots=True)
class Measured:
    """One row."""

    memory: int
    """Bytes above what was there before."""

    seconds: float
    """Of a step, median."""

    flops: float
    """Of a step."""

    peak: float
    """Floating-point operations a second of a large matrix product."""

    dtype: str
    """In which both computed."""

    encoding: float | None
    """Seconds to encode all scans in all views; None for what does not."""


def now() -> float:
    """Return seconds that this process has computed, per thread; with a GPU, of the clock."""
    if torch.cuda.is_available():
        return time.perf_counter()
    return time.process_time() / torch.get_num_threads()


def matmul_peak(dtype: torch.dtype) -> float:
    """Return the operations a second of the fastest of some products of large matrices."""
    device = best_device()
    left, right = torch.rand((2, MATRIX, MATRIX), device=device).to(dtype)
    fastest = float("inf")
    for _ in range(PRODUCTS):
        started = now()
        product = left @ right
        float(product[0, 0])  # Waits for the accelerator.
        fastest = min(fastest, now() - started)
    return 2 * MATRIX**3 / fastest


def flops_of_a_step(train: Train) -> float:
    """Return what a second step adds to the operations of a training of one."""
    counted = []
    for num_steps in (1, 2):
        # As products of matrices: the counter does not know a CPU's fused attention.
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            train(num_steps, lambda: None)
        counted.append(counter.get_total_flops())
    return float(counted[1] - counted[0])


def make_scans(folder: Path, study: Settings, grid: Sequence[int], num_scans: int) -> ImageSet:
    """Write scans of noise, and open them."""
    rng = seeds.numpy_generator(0, "scaling")
    channels = [*study.cohort.sequences, *(["mask"] if study.cohort.has_mask else [])]
    rows = []
    for number in range(num_scans):
        name = f"scan-{number:05d}"
        write_voxels(folder, name, rng.random((len(channels), *grid), dtype=np.float32))
        rows.append(
            {"scan_id": name, "patient_id": name, "site": "benchmark", "split": "train"}
            | {f"{PRESENCE}{channel}": "true" for channel in channels}
        )
    write_index(folder, channels=channels, grid=grid, rows=rows, about={})
    return read_images(folder)


def measure(network: str, study: Settings, scans: ImageSet) -> Measured:
    """Measure a training of one network in this process, which has done nothing else."""
    if network == "autoencoder":
        return _measured(_autoencoder(scans, study), encoding=None)
    labels = torch.arange(len(scans)) % len(study.classes)
    autoencoder = _untrained(scans, study)
    started, views = now(), study.diffusion.num_views
    latents = encode_scans(scans, autoencoder, num_views=views, rng=seeds.generator(0, "views"))
    encoding = now() - started
    scale = measure_scale(latents)

    def train(num_steps: int, tick: Callable[[], None]) -> None:
        train_flow(
            latents,
            labels,
            scale,
            settings=study.diffusion.model_copy(update={"num_steps": num_steps}),
            compute=study.compute,
            num_classes=len(study.classes),
            seed=0,
            site="benchmark",
            on_step=lambda step, losses: tick(),
        )

    return _measured(train, encoding=encoding)


def memory_of_tutorial(study: Settings, scans: ImageSet) -> int:
    """Return the bytes that a plain loop needs, in this process, which has done nothing else."""
    autoencoder, device = _untrained(scans, study), best_device()
    scale = measure_scale(
        encode_scans(scans, autoencoder, num_views=1, rng=seeds.generator(0, "views"))
    )
    images = scans.load(range(len(scans))).to(device)
    labels = torch.arange(len(scans)) % len(study.classes)
    before = _memory_now()
    tutorial_seconds(
        images=images,
        presence=scans.presence.to(device),
        labels=labels.to(device),
        autoencoder=autoencoder,
        scale=scale,
        study=study,
    )
    return _memory_peak() - before


def _untrained(scans: ImageSet, study: Settings) -> Autoencoder:
    autoencoder = Autoencoder(
        study.autoencoder, num_channels=len(scans.channels), dims=len(scans.grid)
    ).eval()
    first = range(min(8, len(scans)))
    autoencoder.fit_shortcuts(scans.load(first), scans.presence[: len(first)])
    return autoencoder.to(best_device())


def _autoencoder(scans: ImageSet, study: Settings) -> Train:
    def train(num_steps: int, tick: Callable[[], None]) -> None:
        train_autoencoder(
            scans,
            settings=study.autoencoder.model_copy(update={"num_steps": num_steps}),
            compute=study.compute,
            seed=0,
            site="benchmark",
            on_step=lambda step, losses: tick(),
        )

    return train


def _measured(train: Train, *, encoding: float | None) -> Measured:
    device = best_device()
    with autocast(device):
        enabled = torch.is_autocast_enabled(device.type)
    dtype = torch.bfloat16 if enabled else torch.float32
    ticks: list[float] = []
    before = _memory_now()
    train(STEPS, lambda: ticks.append(now()))
    # Before the counting, which holds more.
    memory = _memory_peak() - before
    seconds = statistics.median([after - earlier for earlier, after in pairwise(ticks)][WARM_UP:])
    return Measured(
        memory, seconds, flops_of_a_step(train), matmul_peak(dtype), str(dtype), encoding
    )


def _memory_now() -> int:
    """Return the bytes that this process, or its accelerator, holds; peaks count from here."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _memory_peak() -> int:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB


def _memory_of_machine() -> int:
    if torch.cuda.is_available():
        return torch.cuda.get_device_properties(0).total_memory
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _in_its_own_process(network: str, grid: Sequence[int], num_scans: int) -> Any:
    asked = [network, "x".join(map(str, grid)), str(num_scans)]
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "benchmarks.scaling", "--one", *asked],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(done.stdout)


def _print_one(network: str, study: Settings, grid: Sequence[int], num_scans: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        scans = make_scans(Path(folder), study, grid, num_scans)
        if network == "tutorial":
            print(memory_of_tutorial(study, scans))
        else:
            print(json.dumps(asdict(measure(network, study, scans))))


def _grid_of(word: str) -> tuple[int, ...]:
    return tuple(int(size) for size in word.split("x"))


def main() -> None:
    """Print a row per network, grid and number of scans."""
    study = load_settings(Path("params.yaml"))
    own = study.grid.shape
    larger = tuple(2 * size for size in own)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--grids", nargs="+", type=_grid_of, default=[own, larger])
    parser.add_argument("--scans", nargs="+", type=int, default=[16, 48, 144])
    parser.add_argument("--one", nargs=3, metavar=("NETWORK", "GRID", "SCANS"))
    told = parser.parse_args()
    if told.one:
        _print_one(told.one[0], study, _grid_of(told.one[1]), int(told.one[2]))
        return
    print(
        "| network | grid | scans | s a step | x first | GFLOP a step | GFLOP/s | of the peak | "
        "peak memory, MiB | of the machine's | x tutorial's | encoding, s |"
    )
    print("|---" * 12 + "|")
    rows = [(told.grids[0], number) for number in told.scans]
    rows += [(grid, told.scans[0]) for grid in told.grids[1:]]
    for network in ("autoencoder", "flow"):
        first: float | None = None
        for grid, num_scans in rows:
            found = Measured(**_in_its_own_process(network, grid, num_scans))
            first = first or found.seconds
            rate = found.flops / found.seconds
            times, encoding = "", ""
            if found.encoding is not None:
                plain = _in_its_own_process("tutorial", grid, num_scans)
                times, encoding = f"{found.memory / plain:.2f}", f"{found.encoding:.1f}"
            cells = [
                network,
                " x ".join(map(str, grid)),
                str(num_scans),
                f"{found.seconds:.3f}",
                f"{found.seconds / first:.2f}",
                f"{found.flops / 1e9:.2f}",
                f"{rate / 1e9:.1f}",
                f"{rate / found.peak:.0%} of {found.peak / 1e9:.0f} ({found.dtype})",
                f"{found.memory / MIB:.0f}",
                f"{found.memory / _memory_of_machine():.1%}",
                times,
                encoding,
            ]
            print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
