"""Which view of the privacy gate sees copies that were changed, and what a third view costs.

    PYTHONPATH=src:. python benchmarks/changed_copies.py [--splits 10] [--site alder]

A generator that copies its training scans, and changes each in a known way, is put before the copy
test of the gate: fresh phantoms of one site, of which as many as in the study are training scans
and held out, at random and anew in each split. Two synthetic scans a training scan; a share of them
are changed copies, the rest are scans of other patients, who are what an innocent generator would
draw. Printed is in how many splits each view refuses, at the level that it has where there are two
views and where there are three, and how long the encoders take.

Phantoms are drawn once and kept in a file: three minutes, and about half a minute a split.
"""

import argparse
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import torch
from scipy import ndimage
from scipy.spatial.transform import Rotation

from benchmarks.planted_shifts import Scans, draw_scans, on_sequences
from sitesynth import seeds
from sitesynth.described import THUMBNAIL_VOXELS, Described, shrink
from sitesynth.features import Extractor, extractor_for
from sitesynth.preprocessing.scans import channels_of
from sitesynth.privacy.copies import compare_scans, find_copies
from sitesynth.privacy.encoder import encoder_view
from sitesynth.privacy.similarity import feature_view, voxel_view
from sitesynth.settings import EncoderSettings, PrivacySettings, load_settings


NUM_TRAIN, NUM_HELD_OUT, NUM_OTHERS = 58, 14, 116
SHARES: Final = (1.0, 0.5)
VARIANTS: Final = 2
"""Changed copies of each scan."""

Change = Callable[[Scans, np.random.Generator], Scans]
"""Of one scan, (c, *grid), its mask last."""


def moved(*, degrees: float = 0.0, voxels: float = 0.0, zoom: float = 0.0) -> Change:
    """Turn about a random axis, shift along each axis and zoom, either way each."""

    def change(scan: Scans, rng: np.random.Generator) -> Scans:
        axis = rng.standard_normal(3)
        turn = np.deg2rad(degrees) * axis / np.linalg.norm(axis)
        matrix = Rotation.from_rotvec(turn).as_matrix() * (1 + zoom * rng.choice([-1, 1]))
        middle = (np.array(scan.shape[1:]) - 1) / 2
        offset = middle - matrix @ middle + voxels * rng.choice([-1, 1], 3)
        channels = [
            ndimage.affine_transform(channel, matrix, offset, order=1, mode="nearest")
            for channel in scan
        ]
        return np.stack([*channels[:-1], np.round(channels[-1])])

    return change


def bent(log_gamma: float) -> Change:
    """Bend each sequence's contrast, either way."""
    return lambda scan, rng: sequences_of(
        scan, scan[:-1] ** np.exp(log_gamma * rng.choice([-1, 1], (len(scan) - 1, 1, 1, 1)))
    )


def noisy(spread: float) -> Change:
    """Add noise to each sequence."""
    return lambda scan, rng: sequences_of(
        scan, scan[:-1] + spread * rng.standard_normal(scan[:-1].shape)
    )


def blurred(sigma: float) -> Change:
    """Smooth each sequence."""
    return lambda scan, rng: sequences_of(
        scan, ndimage.gaussian_filter(scan[:-1], (0, sigma, sigma, sigma))
    )


def sequences_of(scan: Scans, sequences: Scans) -> Scans:
    """Return a scan with other sequences."""
    changed: Scans = on_sequences(scan[None], sequences[None])[0]
    return changed


def one_after_another(*changes: Change) -> Change:
    """Make several changes."""

    def change(scan: Scans, rng: np.random.Generator) -> Scans:
        for one in changes:
            scan = one(scan, rng)
        return scan

    return change


CHANGES: Mapping[str, Change] = {
    "not changed": lambda scan, rng: scan,
    "mirrored": lambda scan, rng: scan[:, ::-1],
    "front to back": lambda scan, rng: scan[:, :, ::-1],
    "noise, 0.1 of the range": noisy(0.1),
    "blur, sigma 1 voxel": blurred(1.0),
    "gamma 0.6 or 1.6": bent(0.5),
    "shifted by 2 voxels an axis": moved(voxels=2),
    "turned by 15 degrees": moved(degrees=15),
    "turned by 30 degrees": moved(degrees=30),
    "zoomed by 15 %": moved(zoom=0.15),
    "turned by 10 degrees, shifted by 1 voxel, gamma 0.8 or 1.25, noise 0.05": one_after_another(
        moved(degrees=10, voxels=1), bent(0.223), noisy(0.05)
    ),
    "turned by 20 degrees, shifted by 2 voxels, gamma 0.6 or 1.6, noise 0.1": one_after_another(
        moved(degrees=20, voxels=2), bent(0.5), noisy(0.1)
    ),
}


def describe(scans: Scans, extractor: Extractor) -> Described:
    """Describe scans that lack nothing, as an audit does."""
    presence = np.ones(scans.shape[:2], dtype=bool)
    return Described(
        np.stack([extractor.extract(scan, presence[0]) for scan in scans]),
        np.stack([shrink(scan, most=THUMBNAIL_VOXELS) for scan in scans]),
        presence,
        tuple(f"p{number}" for number in range(len(scans))),
    )


def chosen(scans: Described, numbers: np.ndarray) -> Described:
    """Return some of the scans."""
    return Described(
        scans.features[numbers],
        scans.thumbnails[numbers],
        scans.presence[numbers],
        tuple(scans.patients[number] for number in numbers),
    )


def together(first: Described, second: Described) -> Described:
    """Return the scans of both, each of nobody known."""
    return Described(
        np.concatenate([first.features, second.features]),
        np.concatenate([first.thumbnails, second.thumbnails]),
        np.concatenate([first.presence, second.presence]),
        tuple(f"synthetic {number}" for number in range(len(first) + len(second))),
    )


def p_values(
    pool: Described,
    changed: Mapping[str, list[Described]],
    *,
    names: tuple[str, ...],
    settings: PrivacySettings,
    encoder: EncoderSettings,
    seed: int,
) -> tuple[dict[tuple[str, float], dict[str, float]], float]:
    """Return each view's p-value for each cheat in one split, and the encoders' seconds.

    Args:
        pool: Scans of as many patients.
        changed: By change, the same scans changed, several times over.
        names: Of the features.
        settings: The gate's rules.
        encoder: The third view's.
        seed: Of the split.
    """
    order = np.random.default_rng([seed, 7]).permutation(len(pool))
    members, kept, others = np.split(order, np.cumsum([NUM_TRAIN, NUM_HELD_OUT]))
    train, held_out = chosen(pool, members), chosen(pool, kept)
    start = time.perf_counter()
    learned = encoder_view(train, held_out, settings=encoder, seed=seed, site="planted")
    seconds = time.perf_counter() - start
    views = {"features": feature_view(train, names), "voxels": voxel_view(train)}
    found = {}
    cheats = {("none: other patients", 0.0): chosen(pool, others[:NUM_OTHERS])}
    for name, variants in changed.items():
        for share in SHARES:
            count = round(share * NUM_OTHERS)
            copies = [chosen(variant, members) for variant in variants]
            both = chosen(together(*copies), np.arange(count))
            cheats[name, share] = together(both, chosen(pool, others[: NUM_OTHERS - count]))
    for cheat, synthetic in cheats.items():
        found[cheat] = {
            name: find_copies(
                compare_scans(
                    view,
                    train,
                    held_out,
                    synthetic,
                    are_members_strangers=name != "encoder",
                ),
                level=settings.copy_level,
            ).p_value
            for name, view in {**views, "encoder": learned}.items()
        }
    return found, seconds


def main() -> None:
    """Print in how many splits each view refuses each kind of copies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--site", default="alder")
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--kept", type=Path, default=Path("changed_copies.npy"))
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=29)
    parser.add_argument("--num-steps", type=int, default=50)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    told = parser.parse_args()
    study = load_settings(Path("params.yaml"))
    if not told.kept.exists():
        count = NUM_TRAIN + NUM_HELD_OUT + NUM_OTHERS
        np.save(told.kept, draw_scans(study, told.site, count, seed=study.seed + 1))
    scans = np.load(told.kept)
    extractor = extractor_for(channels_of(study.cohort), len(study.grid.shape))
    pool = describe(scans, extractor)
    changed = {
        name: [
            describe(np.stack([change(scan, rng) for scan in scans]).astype(scans.dtype), extractor)
            for rng in (seeds.numpy_generator(study.seed, name, n) for n in range(VARIANTS))
        ]
        for name, change in CHANGES.items()
    }
    encoder = EncoderSettings(
        width=told.width,
        batch_size=told.batch_size,
        num_steps=told.num_steps,
        learning_rate=told.learning_rate,
    )
    splits, times = [], []
    for seed in range(told.splits):
        found, seconds = p_values(
            pool,
            changed,
            names=extractor.names,
            settings=study.privacy,
            encoder=encoder,
            seed=seed,
        )
        splits.append(found)
        times.append(seconds)
    print(f"{torch.get_num_threads()} threads; encoders: {np.median(times):.1f} s a split")
    print("| copies | share | features | voxels | encoder | two views | three |")
    print("|---|---|---|---|---|---|---|")
    level = study.privacy.copy_level
    for cheat in splits[0]:
        values = [split[cheat] for split in splits]
        shares = [np.mean([p[view] < level / 3 for p in values]) for view in values[0]]
        two = np.mean([min(p["features"], p["voxels"]) < level / 2 for p in values])
        three = np.mean([min(p.values()) < level / 3 for p in values])
        cells = " | ".join(f"{share:.0%}" for share in [*shares, two, three])
        print(f"| {cheat[0]} | {cheat[1]:.0%} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
