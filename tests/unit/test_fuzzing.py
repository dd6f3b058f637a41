"""Readers of scans and tables, fed with damage: an answer or an error of ours, in little memory.

SITESYNTH_FUZZ_EXAMPLES sets how many examples are tried.
"""

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sitesynth.cohorts.sources import read_source
from sitesynth.volumes import Volume, read_channels, read_header, write_nifti
from tests.unit.damage import Damage, answered, damages, fuzzed


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@pytest.fixture(scope="module")
def scan(folder: Path) -> bytes:
    """Return a sound file of 6 x 5 x 4 voxels."""
    voxels = np.random.default_rng(0).integers(0, 99, (6, 5, 4)).astype(np.float32)
    write_nifti(folder / "sound.nii", Volume(voxels, np.eye(4)), dtype=np.int16)
    return (folder / "sound.nii").read_bytes()


@pytest.mark.parametrize("place", ["plain", "inside gzip", "outside gzip"])
@fuzzed
@given(damage=damages())
def test_a_damaged_scan_is_read_or_refused(
    folder: Path, scan: bytes, place: str, damage: Damage
) -> None:
    match place:
        case "plain":
            path, content = folder / "a.nii", damage(scan)
        case "inside gzip":
            path, content = folder / "a.nii.gz", gzip.compress(damage(scan), 1)
        case _:
            path, content = folder / "a.nii.gz", damage(gzip.compress(scan, 1))
    path.write_bytes(content)

    with answered():
        read_header(path)
    with answered():
        for channel in read_channels(path):
            assert np.isfinite(channel.affine).all()


@fuzzed
@given(
    dims=st.lists(st.integers(-(2**15), 2**15 - 1), min_size=8, max_size=8),
    kind=st.sampled_from([2, 4, 16, 64, 1024]),
    offset=st.floats(width=32, allow_subnormal=False),  # torch flushes them
)
def test_absurd_dimensions_take_no_memory(
    folder: Path, scan: bytes, dims: list[int], kind: int, offset: float
) -> None:
    """A gzip of zeros can hold a thousand times its size, and no header a byte more."""
    header = bytearray(scan)
    header[40:56] = np.array(dims, "<i2").tobytes()
    header[70:72] = np.array(kind, "<i2").tobytes()
    header[108:112] = np.array(offset, "<f4").tobytes()
    path = folder / "dims.nii.gz"
    path.write_bytes(gzip.compress(bytes(header) + bytes(1 << 20), 9))

    with answered():
        read_channels(path)


@pytest.fixture(scope="module")
def tables(folder: Path) -> dict[str, bytes]:
    """Return the bytes of a sound table, as CSV and as Parquet."""
    import pandas as pd  # noqa: PLC0415

    table = pd.DataFrame(
        {"patient_id": ["p1", "p2", "ü3"], "age": [61.0, None, 44.0], "t1": ["a", "b", None]}
    )
    table.to_csv(folder / "sound.csv", index=False)
    table.to_parquet(folder / "sound.parquet")
    return {kind: (folder / f"sound.{kind}").read_bytes() for kind in ("csv", "parquet")}


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@fuzzed
@given(damage=damages())
def test_a_damaged_table_is_read_or_refused(
    folder: Path, tables: dict[str, bytes], kind: str, damage: Damage
) -> None:
    path = folder / f"a.{kind}"
    path.write_bytes(damage(tables[kind]))

    with answered():
        source = read_source(path)
        assert all(len(row.cells) == len(source.header) for row in source.rows)
