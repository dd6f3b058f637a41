"""Finding the pairs that a reader should look at; see `sitesynth.privacy.pairs`.

Axes: n = scans, m = training scans, c = channels, then the grid.
"""

from typing import Final

import numpy as np
from jaxtyping import Float, Int

from sitesynth.described import Described
from sitesynth.privacy.pairs import NearestPairs
from sitesynth.privacy.similarity import RIGHT, voxel_view


__all__ = ["NUM_PAIRS", "facing", "find_nearest", "find_nearest_pairs"]

NUM_PAIRS: Final = 4


def find_nearest(
    scans: Described, train: Described
) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Return which training scan each scan is most like in the voxel view, and how much."""
    similarities = voxel_view(train)(scans, train)
    return similarities.argmax(axis=1), similarities.max(axis=1)


def find_nearest_pairs(
    train: Described, held_out: Described, synthetic: Described
) -> dict[str, NearestPairs]:
    """Return the synthetic and the held-out scans most like a training scan, in the voxel view."""
    found = {}
    for kind, scans in (("synthetic", synthetic), ("held_out", held_out)):
        nearest, best = find_nearest(scans, train)
        # Stable: of equals the first comes first, on any machine.
        rows = np.argsort(-best, kind="stable")[:NUM_PAIRS]
        matches = nearest[rows]
        pictures = [
            facing(train.thumbnails[match], scans.thumbnails[row])
            for row, match in zip(rows, matches, strict=True)
        ]
        found[kind] = NearestPairs(
            scans.thumbnails[rows].astype(np.float64),
            scans.presence[rows],
            np.stack(pictures).astype(np.float64),
            train.presence[matches],
            best[rows].astype(np.float64),
        )
    return found


def facing(
    picture: Float[np.ndarray, "c ..."], other: Float[np.ndarray, "c ..."]
) -> Float[np.ndarray, "c ..."]:
    """Return a picture or its mirror image, whichever is more like the other."""
    mirrored = np.flip(picture, axis=RIGHT - 1)
    apart = [float(np.square(side - other).mean()) for side in (picture, mirrored)]
    nearer: np.ndarray = picture if apart[0] <= apart[1] else mirrored
    return nearer
