"""What convolutions around the transformer and warped views do for a site's flow, at equal steps.

Trains the flow of one site four times, with and without convolutions and with and without warped
views, and prints, for each,

- its mean squared error of the velocity on held-out scans at five noise levels (with a warp those
  are warped too, so that only rows of the same warp compare);
- the same on training scans: the difference is what it knows about patients;
- KID and FID of its samples, as drawn, to the held-out scans, with intervals by patient.

    dvc repro train_autoencoder && python -m benchmarks.flow_details [--site alder]

It takes four times as long as the stage `train_diffusion`. It looks at no external site.
"""

from itertools import product
from typing import Final

from benchmarks.flow_knobs import compare_flows
from sitesynth.settings import ConvolutionSettings


__all__ = ["main"]

CONVOLUTIONS: Final = (None, ConvolutionSettings(feature_maps=48, num_blocks=1))
WARPS: Final = (0.0, 1.0)


def main() -> None:
    """Print a row per flow."""
    compare_flows(
        __doc__,
        [
            (
                {"convolutions": "yes" if convolutions else "no", "warp": f"{warp:g}"},
                {"convolutions": convolutions, "warp": warp},
            )
            for convolutions, warp in product(CONVOLUTIONS, WARPS)
        ],
    )


if __name__ == "__main__":
    main()
