"""What hints and the weight of details do for a site's flow, at equal steps.

Trains the flow of one site four times, with and without principal components as a hint and with and
without a weight of details, and prints, for each,

- its mean squared error of the velocity on held-out scans at five noise levels;
- the same on training scans: the difference is what it knows about patients;
- KID of its samples to the held-out scans, with an interval by patient.

    dvc repro train_autoencoder && python -m benchmarks.flow_hints [--site alder]

Some five minutes on two cores. It looks at no external site.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from benchmarks.flows import asked_site, changed, train_generator
from benchmarks.held_out import HeldOut, draw_cohort


__all__ = ["main"]

NUM_PER_CLASS: Final = 32
COMPONENTS: Final = (0, 16)
DETAILS: Final = (0.0, 0.5)


def main() -> None:
    """Print a row per flow."""
    site, study, scans, autoencoder = asked_site(__doc__)
    held_out = HeldOut.of(scans)
    sys.stdout.write(
        "| components | detail | seconds | held-out error | training error | KID | FID |\n"
    )
    sys.stdout.write("|---|---|---|---|---|---|---|\n")
    for components in COMPONENTS:
        for detail in DETAILS:
            started = time.monotonic()
            generator, losses = train_generator(
                scans,
                autoencoder,
                changed(study, "diffusion", components=components, detail=detail),
                site=site,
            )
            seconds = time.monotonic() - started
            with tempfile.TemporaryDirectory() as scratch:
                told = held_out.distances_to(
                    draw_cohort(
                        Path(scratch) / "drawn", generator, study, num_per_class=NUM_PER_CLASS
                    )
                )
            errors = (
                ", ".join(f"{value:.3f}" for value in losses[split].values())
                for split in ("validation", "train")
            )
            cells = [str(components), f"{detail:g}", f"{seconds:.0f}", *errors, told]
            sys.stdout.write(f"| {' | '.join(cells)} |\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
