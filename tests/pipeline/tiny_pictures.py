"""A study in two dimensions made small: pictures whose looks were planted, and few steps."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


__all__ = ["paint", "shrink_pictures"]

SIZE = 32

LINES = np.arange(SIZE) // 4 % 2 == 0

LOOKS = (
    np.outer(np.arange(SIZE) < SIZE // 2, np.ones(SIZE)),
    np.outer(LINES, np.ones(SIZE)),
    np.outer(np.ones(SIZE), LINES),
)
"""Where pictures may be bright: above, in rows, in columns."""


def paint(path: Path, looks: Iterable[int], rng: np.random.Generator) -> None:
    """Write a picture of noise with some of three looks."""
    picture = 60 + 20 * rng.random((SIZE, SIZE))
    for look in looks:
        picture += 45 * LOOKS[look]
    Image.fromarray(picture.astype(np.uint8)).save(path)


def shrink_pictures(params: dict[str, Any]) -> None:
    """Shrink a study in place, to pictures of 32 pixels and a few steps of everything."""
    params["check"] |= {"min_patients_per_class": 2, "near_duplicates": "report"}
    params["split"]["validation_fraction"] = 0.3
    params["grid"]["shape"] = [SIZE, SIZE]
    params["autoencoder"] |= {"channels": [8, 8], "latent_channels": 8, "num_steps": 20}
    params["diffusion"] |= {"width": 32, "depth": 1, "num_steps": 10, "validate_every": 5}
    params["sampling"] |= {"num_steps": 4, "num_per_class": 12}
    params["quality"] |= {"num_pairs": 10, "num_resamples": 100}
    params["privacy"] |= {"num_splits": 20, "min_held_out": 4}
    params["classifier"] |= {"init_features": 16, "growth_rate": 8, "layers": [2, 2]}
    params["classifier"] |= {"num_steps": 80, "validate_every": 40, "num_seeds": 2}
    params["mixing"] |= {"num_trials": 3, "num_random": 2, "max_total": 40, "min_per_class": 4}
    params["mixing"] |= {"num_steps": 4, "validate_every": 2, "num_finalists": 1}
    params["federated"]["num_rounds"] = 6
    params["evaluation"] |= {"num_resamples": 200, "min_subgroup": 2}
