"""What hints and the weight of details do for a site's flow, at equal steps.

Trains the flow of one site four times, with and without principal components as a hint and with and
without a weight of details, and prints, for each,

- its mean squared error of the velocity on held-out scans at five noise levels;
- the same on training scans: the difference is what it knows about patients;
- KID and FID of its samples to the held-out scans, with intervals by patient.

    dvc repro train_autoencoder && python -m benchmarks.flow_hints [--site alder]

Some five minutes on two cores. It looks at no external site.
"""

from itertools import product
from typing import Final

from benchmarks.flow_knobs import compare_flows


__all__ = ["main"]

COMPONENTS: Final = (0, 16)
DETAILS: Final = (0.0, 0.5)


def main() -> None:
    """Print a row per flow."""
    compare_flows(
        __doc__,
        [
            (
                {"components": str(components), "detail": f"{detail:g}"},
                {"components": components, "detail": detail},
            )
            for components, detail in product(COMPONENTS, DETAILS)
        ],
    )


if __name__ == "__main__":
    main()
