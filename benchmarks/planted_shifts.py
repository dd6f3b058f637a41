"""Does the default extractor order faults of known size, and notice small ones?

    PYTHONPATH=src python benchmarks/planted_shifts.py

Real scans are phantoms of the study's first site; a generator with a known fault is fresh patients
of the same site, changed. About two minutes, nearly all of it for drawing the phantoms.
"""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from scipy import ndimage

from sitesynth import seeds
from sitesynth.features import FeatureScale, extractor_for
from sitesynth.phantom.consortium import draw_patients, render_patient
from sitesynth.preprocessing.scans import channels_of, preprocess_scan
from sitesynth.quality.fidelity import compare_manifolds, fid, kid
from sitesynth.settings import Settings, load_settings
from sitesynth.volumes import write_nifti


NUM_TRAIN, NUM_HELD_OUT, NUM_FRESH = 46, 14, 46
Scans = np.ndarray
Fault = Callable[[Scans, np.random.Generator], Scans]


def draw_scans(settings: Settings, site: str, count: int, *, seed: int) -> Scans:
    """Return phantoms on the study's grid that lack no sequence."""
    assert settings.phantom is not None  # noqa: S101
    scanner = settings.phantom.sites[site].model_copy(
        update={"num_patients": count, "missing_fraction": 0.0}
    )
    phantom = settings.phantom.model_copy(update={"sites": {site: scanner}})
    arrays = []
    for patient in draw_patients(site, phantom, seed=seed):
        with tempfile.TemporaryDirectory() as folder:
            paths = {}
            for channel, volume in render_patient(patient, scanner, seed=seed).items():
                paths[channel] = Path(folder) / f"{channel}.nii"
                write_nifti(paths[channel], volume, dtype=np.int16)
            arrays.append(
                preprocess_scan(
                    paths,
                    channels=channels_of(settings.cohort),
                    grid=settings.grid,
                    intensity=settings.intensity,
                    mask_labels=settings.cohort.mask_labels,
                )
            )
    return np.stack(arrays)


def blur(sigma: float) -> Fault:
    """Smooth every sequence."""
    return lambda scans, rng: on_sequences(
        scans, ndimage.gaussian_filter(scans[:, :-1], (0, 0, sigma, sigma, sigma))
    )


def noise(spread: float) -> Fault:
    """Add noise to every sequence."""
    return lambda scans, rng: on_sequences(
        scans, scans[:, :-1] + spread * rng.standard_normal(scans[:, :-1].shape)
    )


def gamma(exponent: float) -> Fault:
    """Bend every sequence's contrast."""
    return lambda scans, rng: on_sequences(scans, scans[:, :-1] ** exponent)


def checkerboard(height: float) -> Fault:
    """Add the pattern that transposed convolutions leave."""
    return lambda scans, rng: on_sequences(
        scans, scans[:, :-1] + height * (-1.0) ** np.indices(scans.shape[2:]).sum(axis=0)
    )


def collapse(count: int) -> Fault:
    """Repeat a few of the scans."""
    return lambda scans, rng: scans[np.arange(len(scans)) % count]


def no_tumour(share: float) -> Fault:
    """Replace the tumour by its surroundings in some scans, and empty the mask."""

    def change(scans: Scans, rng: np.random.Generator) -> Scans:
        changed = scans.copy()
        for scan in changed[: round(share * len(scans))]:
            inside = scan[-1] > 0.5  # noqa: PLR2004
            for sequence in scan[:-1]:
                sequence[inside] = rng.choice(sequence[~inside], int(inside.sum()))
            scan[-1] = 0
        return changed

    return change


def on_sequences(scans: Scans, sequences: Scans) -> Scans:
    """Return scans with other sequences, clipped to [0, 1], and their own masks."""
    return np.concatenate([np.clip(sequences, 0, 1), scans[:, -1:]], axis=1)


FAULTS: Mapping[str, Fault] = {
    "none": lambda scans, rng: scans,
    **{f"blur, sigma {sigma} voxels": blur(sigma) for sigma in (0.3, 0.5, 0.8, 1.2)},
    **{f"noise, {spread} of the range": noise(spread) for spread in (0.01, 0.02, 0.04, 0.08)},
    **{f"gamma {exponent}": gamma(exponent) for exponent in (0.95, 0.9, 0.8, 0.6)},
    **{f"checkerboard, {height}": checkerboard(height) for height in (0.005, 0.01, 0.02, 0.04)},
    **{f"no tumour in {share:.0%}": no_tumour(share) for share in (0.1, 0.25, 0.5, 1.0)},
    **{f"{count} different scans": collapse(count) for count in (23, 12, 6, 2)},
}


def main() -> None:
    """Print the table of ADR 20."""
    settings = load_settings(Path("params.yaml"))
    site = settings.sites.training[0]
    own = draw_scans(settings, site, NUM_TRAIN + NUM_HELD_OUT, seed=settings.seed)
    fresh = draw_scans(settings, site, NUM_FRESH, seed=settings.seed + 1)
    extractor = extractor_for(channels_of(settings.cohort), len(settings.grid.shape))
    presence = np.ones(own.shape[1], dtype=bool)

    def describe(scans: Scans) -> np.ndarray:
        return np.stack([extractor.extract(scan, presence) for scan in scans])

    features = describe(own)
    scale = FeatureScale.of(features[:NUM_TRAIN])
    held_out = scale.standardize(features[NUM_TRAIN:])
    print("| fault | KID | FID | precision | coverage |")
    print("|---|---|---|---|---|")
    for name, fault in {"training scans (the floor)": FAULTS["none"], **FAULTS}.items():
        base = own[:NUM_TRAIN] if "floor" in name else fresh
        rng = seeds.numpy_generator(settings.seed, "planted", name)
        drawn = scale.standardize(describe(fault(base, rng)))
        names = {"patients_x": [str(n) for n in range(len(drawn))]}
        distance = kid(drawn, held_out, **names, patients_y=[f"h{n}" for n in range(NUM_HELD_OUT)])
        found = compare_manifolds(held_out, drawn, neighbours=settings.quality.neighbours)
        print(
            f"| {name} | {distance:.2f} | {fid(drawn, held_out):.0f} | {found.precision:.2f} "
            f"| {found.coverage:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
