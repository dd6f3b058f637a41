"""Shared by benchmarks: one site's flow, trained several times with other values of some knobs."""

import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks.flows import asked_site, changed, train_generator, write_row
from benchmarks.held_out import HeldOut, draw_cohort


__all__ = ["compare_flows"]

NUM_PER_CLASS: Final = 32


def compare_flows(
    description: str | None, variants: Iterable[tuple[Mapping[str, str], Mapping[str, Any]]]
) -> None:
    """Print a row per flow: its errors of the velocity, and how far its samples are.

    Args:
        description: What the benchmark does, for `--help`.
        variants: What the first columns say of a flow, by their titles, and which knobs of the
            `diffusion` section are changed for it.
    """
    site, study, scans, autoencoder = asked_site(description)
    held_out = HeldOut.of(scans)
    for number, (told, knobs) in enumerate(variants):
        if number == 0:
            titles = [*told, "seconds", "held-out error", "training error", "KID", "FID"]
            write_row(*titles)
            write_row(*["---"] * len(titles))
        started = time.monotonic()
        generator, losses = train_generator(
            scans, autoencoder, changed(study, "diffusion", **knobs), site=site
        )
        seconds = time.monotonic() - started
        with tempfile.TemporaryDirectory() as scratch:
            distances = held_out.distances_to(
                draw_cohort(Path(scratch) / "drawn", generator, study, num_per_class=NUM_PER_CLASS)
            )
        errors = (
            ", ".join(f"{value:.3f}" for value in losses[split].values())
            for split in ("validation", "train")
        )
        write_row(*told.values(), f"{seconds:.0f}", *errors, distances)
