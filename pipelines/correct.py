"""Bring what a generator draws nearer to its training scans, in sharpness and grey levels."""

import numpy as np

from pipelines._stage import In, Out, main
from sitesynth.audits import draw_like
from sitesynth.generators.correction import fit_correction, write_correction
from sitesynth.generators.generator import read_generator
from sitesynth.generators.label_scores import as_told
from sitesynth.images import read_images
from sitesynth.settings import SamplingSettings
from sitesynth.tracking import Run


def run(
    *,
    site: str,
    images: In,
    encoder: In,
    model: In,
    correction: Out,
    sampling: SamplingSettings,
    seed: int,
    tracked: Run,
) -> None:
    """Read a site's scans and its generator; write how its samples are corrected, if at all."""
    asked = sampling.correction
    if asked is None:
        write_correction(correction, None)
        return
    generator = read_generator(encoder, model)
    training = as_told(read_images(images), generator.config, seed=seed).in_split("train")
    num_samples = asked.samples_per_scan * len(training)
    drawn = np.empty((num_samples, len(training.channels), *training.grid), dtype=np.float32)
    with tracked.progress(num_samples, f"correction of {site}") as show:
        for number, scan in enumerate(
            draw_like(
                generator,
                training,
                samples_per_scan=asked.samples_per_scan,
                sampling=sampling,
                seed=seed,
                purpose="correction",
            )
        ):
            drawn[number] = scan
            show(number + 1, {})
    found = fit_correction(drawn, training, asked)
    write_correction(correction, found)
    tracked.log_metrics(
        {
            f"largest_gain_{name}": max(told.gains)
            for name, told in zip(training.sequences, found, strict=True)
        }
    )


if __name__ == "__main__":
    main(run)
