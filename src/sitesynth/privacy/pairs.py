"""The nearest pairs of an audit, as pictures: numbers persuade less than a look.

Beside the synthetic scans that come nearest to a training scan stand the held-out scans that do:
what two different patients look like who happen to be alike. Pictures of patients stay in the
site's data; the report shows them to whoever may see the scans.

Axes: p = pairs, c = channels, then the grid of thumbnails.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Bool, Float
from safetensors.numpy import load_file, save_file

from sitesynth.errors import MissingInputError
from sitesynth.storage import replacing


__all__ = ["NearestPairs", "read_pairs", "write_pairs"]


@final
@dataclass(frozen=True, slots=True)
class NearestPairs:
    """Scans, each beside its best match among a site's training scans; the most alike first."""

    scans: Float[np.ndarray, "p c ..."]
    scans_presence: Bool[np.ndarray, "p c"]
    matches: Float[np.ndarray, "p c ..."]
    """Mirrored where the match is with the mirror image."""

    matches_presence: Bool[np.ndarray, "p c"]
    similarities: Float[np.ndarray, " p"]


def write_pairs(path: Path, kinds: dict[str, NearestPairs]) -> None:
    """Write the nearest pairs of several kinds of scans."""
    arrays = {
        f"{kind}/{name}": np.ascontiguousarray(value)
        for kind, pairs in kinds.items()
        for name, value in (
            ("scans", pairs.scans.astype(np.float16)),
            ("scans_presence", pairs.scans_presence.astype(np.uint8)),
            ("matches", pairs.matches.astype(np.float16)),
            ("matches_presence", pairs.matches_presence.astype(np.uint8)),
            ("similarities", pairs.similarities),
        )
    }
    with replacing(path) as temporary:
        save_file(arrays, temporary)


def read_pairs(path: Path) -> dict[str, NearestPairs]:
    """Read what `write_pairs` wrote.

    Raises:
        MissingInputError: If it is not there.
    """
    if not path.exists():
        raise MissingInputError(f"{path} does not exist; `dvc repro assess_privacy` writes it.")
    arrays = load_file(path)
    return {
        kind: NearestPairs(
            arrays[f"{kind}/scans"].astype(np.float64),
            arrays[f"{kind}/scans_presence"].astype(bool),
            arrays[f"{kind}/matches"].astype(np.float64),
            arrays[f"{kind}/matches_presence"].astype(bool),
            arrays[f"{kind}/similarities"],
        )
        for kind in sorted({name.partition("/")[0] for name in arrays})
    }
