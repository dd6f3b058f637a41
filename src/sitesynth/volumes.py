"""Image files, as arrays that know where they lie: the doorway to nibabel and PIL.

A volume is an array of voxels and an affine, the 4 x 4 matrix that takes voxel indices (at voxel
centres) to millimetres toward the patient's right, anterior and superior (RAS+).

    NIfTI-1, NIfTI-2   .nii .nii.gz                 axes and affine as stored; a fourth axis holds
                                                    channels
    PNG, JPEG, TIFF    .png .jpg .jpeg .tif .tiff   axis 0 toward the image's right, axis 1 toward
                                                    its top, affine the identity; colours, alpha
                                                    and TIFF pages are channels

So a plane's first axis is its "right" and its second its "anterior", as for an axial slice, and a
picture that is read and written again shows the same thing the same way up.

A file is read strictly. What nibabel and PIL would accept and misread (a lying header, a second
gzip member, 16 bits cut to 8) is a `VolumeError`, and a file that claims to be larger than it can
be is refused before memory is set aside for it. NaN and infinite voxels are returned as they are:
the check stage reports them, with all else that is wrong with a scan.
"""

import gzip
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import BinaryIO, NoReturn, final

import numpy as np
from jaxtyping import Float32, Float64
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.orientations import aff2axcodes
from nibabel.spatialimages import HeaderDataError
from numpy.typing import DTypeLike
from PIL import ExifTags, Image

from sitesynth.errors import VolumeError
from sitesynth.storage import replacing


__all__ = [
    "MAX_VOXELS",
    "NIFTI_SUFFIXES",
    "PICTURE_SUFFIXES",
    "Header",
    "Volume",
    "read_channels",
    "read_header",
    "read_volume",
    "write_nifti",
    "write_png",
]

NIFTI_SUFFIXES = (".nii", ".nii.gz")
"""File names of volumes, in lower case."""

PICTURE_SUFFIXES = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
"""File names of planes, in lower case, and the format that each must hold."""

NUM_AXES = 3
"""Spatial axes of a volume."""

MAX_VOXELS = 1 << 29
"""Voxels per file, all channels together: 2 GiB as float32, or 1024 x 1024 x 512."""

MAX_PIXELS = 1 << 26
"""Pixels per picture, all pages together: 8192 x 8192."""

FILTERING = threading.Lock()
"""Held while a picture is open: filters of warnings are those of all threads."""

MAX_INFLATION = 1032
"""Bytes that one byte of a deflate stream can stand for at most (zlib's manual)."""

MAX_FORM_DISAGREEMENT = 0.5
"""How far qform and sform may put a corner apart, in edges of the smallest voxel side.

A quaternion in float32 is good to about a tenth of that; half a voxel is a different place.
"""

MIN_DETERMINANT = 1e-3
"""Volume of the parallelepiped of an affine's axes, as directions; 1 where perpendicular."""

CHUNK_BYTES = 1 << 20

GZIP_WINDOW = 31
"""zlib's `wbits` for a gzip member with its checksum."""

GZIP_MAGIC = b"\x1f\x8b"

GZIP_LEVEL = 1
"""Four to six times as fast as 9 on head scans, for 3 to 6 percent more bytes (measured)."""

NIFTI1_BYTES, NIFTI2_BYTES = 348, 540
EXTENSION_FLAG_BYTES = 4

VOXEL_TYPES = {
    2: "u1",
    4: "i2",
    8: "i4",
    16: "f4",
    64: "f8",
    256: "i1",
    512: "u2",
    768: "u4",
    1024: "i8",
    1280: "u8",
}
"""NIfTI's datatype codes of real numbers."""

MM_PER_UNIT = {0: 1.0, 1: 1e3, 2: 1.0, 3: 1e-3}
"""NIfTI's codes of length: unknown (taken as mm), metre, millimetre, micrometre."""

SPATIAL_UNITS = 0b111
"""Bits of `xyzt_units` that hold the unit of length."""

GRAY_MODES = frozenset({"1", "L", "I", "I;16", "I;16L", "I;16B", "F"})
COLOUR_MODES = frozenset({"LA", "RGB", "RGBA"})

EIGHT_BITS = 8
BITS_PER_SAMPLE = 258
"""TIFF's tag."""

UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    EOFError,
    struct.error,
    UserWarning,
)
"""What PIL's decoders raise on damaged files; truncated zlib and JPEG streams are OSErrors."""


@final
@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels and where they lie, in 3D or in a plane."""

    voxels: Float32[np.ndarray, "*axes"]
    """Three axes, or two for a plane."""
    affine: Float64[np.ndarray, "4 4"]
    """Voxel indices to millimetres, RAS+; a plane lies in the first two axes."""

    @property
    def spacing_mm(self) -> tuple[float, ...]:
        """Distance between the centres of neighbouring voxels along each axis."""
        return _spacing(self.affine, self.voxels.ndim)

    @property
    def orientation(self) -> str:
        """Where each axis points, e.g. "LPS" for left, posterior, superior; "RA" for a plane."""
        return _orientation(self.affine, self.voxels.ndim)


@final
@dataclass(frozen=True, eq=False)
class Header:
    """What a file says of its voxels before they are read."""

    shape: tuple[int, ...]
    """Voxels along each spatial axis: three, or two for a plane."""
    num_channels: int
    """Volumes in the file."""
    affine: Float64[np.ndarray, "4 4"]
    """As in `Volume`."""

    @property
    def spacing_mm(self) -> tuple[float, ...]:
        """As in `Volume`."""
        return _spacing(self.affine, len(self.shape))

    @property
    def orientation(self) -> str:
        """As in `Volume`."""
        return _orientation(self.affine, len(self.shape))


def read_header(path: Path) -> Header:
    """Read the shape and affine of an image file, and no voxel.

    Raises:
        VolumeError: If the file is missing, of an unknown kind, or its header is impossible.
    """
    if _is_nifti(path):
        return _read_nifti_header(path).about
    with _opened_picture(path) as picture:
        channels = sum(len(page.getbands()) for page in _pages(path, picture))
        return Header(picture.size, channels, np.eye(4))


def read_volume(path: Path) -> Volume:
    """Read an image file that holds one channel, or the same one several times.

    A gray picture saved in colour has three equal channels; they are one.

    Raises:
        VolumeError: If the file cannot be read, or its channels differ.
    """
    first, *others = read_channels(path)
    differ = [c for c in others if not np.array_equal(c.voxels, first.voxels, equal_nan=True)]
    if differ:
        raise VolumeError(
            f"{path} must hold one channel, but holds {1 + len(others)} that differ. Save each "
            "sequence as a file of its own, or name the file in the cohort's `image` column."
        )
    return first


def read_channels(path: Path) -> tuple[Volume, ...]:
    """Read every channel of an image file, in order, on its one grid.

    Raises:
        VolumeError: If the file is missing, damaged, of an unknown kind, or would be misread.
    """
    return _read_nifti(path) if _is_nifti(path) else _read_picture(path)


def write_nifti(path: Path, volume: Volume, *, dtype: DTypeLike) -> None:
    """Write a 3D volume, whole; the same bytes for the same volume.

    Args:
        path: A name in .nii or .nii.gz.
        volume: What to write.
        dtype: Voxel type of the file; integers are rounded to, never scaled.

    Raises:
        VolumeError: If `dtype` cannot hold a voxel's value, or the volume is a plane.
    """
    kind = np.dtype(dtype)
    if volume.voxels.ndim != NUM_AXES:
        raise VolumeError(f"{path}: NIfTI files hold 3D volumes; write a plane with `write_png`.")
    voxels = volume.voxels
    if kind.kind in "iu":
        low, high = np.iinfo(kind).min, np.iinfo(kind).max
        voxels = np.rint(voxels)
        if not ((voxels >= low) & (voxels <= high)).all():
            raise VolumeError(
                f"{path}: voxels from {voxels.min()} to {voxels.max()} do not fit {kind}, which "
                f"holds {low} to {high}. Write a wider type."
            )
    header = Nifti1Header()
    header.set_data_dtype(kind)
    header.set_data_shape(voxels.shape)
    header.set_sform(volume.affine, code=1)
    header.set_qform(volume.affine, code=1)
    if _disagreement(header.get_qform(), volume.affine, voxels.shape) > MAX_FORM_DISAGREEMENT / 10:
        header["qform_code"] = 0  # a quaternion cannot hold the shear of this affine
    header.set_xyzt_units("mm")
    header.set_slope_inter(1, 0)
    header["vox_offset"] = NIFTI1_BYTES + EXTENSION_FLAG_BYTES
    content = header.binaryblock + bytes(EXTENSION_FLAG_BYTES)
    content += voxels.astype(header.get_data_dtype()).tobytes(order="F")
    if path.name.lower().endswith(".gz"):
        content = gzip.compress(content, GZIP_LEVEL, mtime=0)
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_png(path: Path, plane: Volume) -> None:
    """Write a plane of values from 0 to 1 as an 8-bit gray picture, whole.

    Raises:
        VolumeError: If the volume is not a plane, or a value lies outside 0 to 1.
    """
    if plane.voxels.ndim == NUM_AXES:
        raise VolumeError(f"{path}: PNG files hold planes; write a volume with `write_nifti`.")
    if not ((plane.voxels >= 0) & (plane.voxels <= 1)).all():
        raise VolumeError(
            f"{path}: a picture's values must lie in 0 to 1, got {plane.voxels.min()} to "
            f"{plane.voxels.max()}. Rescale the plane first."
        )
    pixels = np.rint(plane.voxels.T[::-1] * 255).astype(np.uint8)
    with replacing(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG")


def _spacing(affine: Float64[np.ndarray, "4 4"], num_axes: int) -> tuple[float, ...]:
    lengths = np.linalg.norm(affine[:3, :num_axes], axis=0)
    return tuple(float(length) for length in lengths)


def _orientation(affine: Float64[np.ndarray, "4 4"], num_axes: int) -> str:
    return "".join(aff2axcodes(affine)[:num_axes])


def _is_nifti(path: Path) -> bool:
    """Tell the kind of a file by its name, once it is sure to be a file."""
    name = path.name.lower()
    is_nifti = name.endswith(NIFTI_SUFFIXES)
    if not is_nifti and path.suffix.lower() not in PICTURE_SUFFIXES:
        raise VolumeError(
            f"{path}: the suffix must be one of {[*NIFTI_SUFFIXES, *PICTURE_SUFFIXES]}. Convert "
            "the image (DICOM: with dcm2niix)."
        )
    try:
        is_file, is_there = path.is_file(), path.exists()
    except OSError as error:
        _refuse_unreadable(path, error)
    if not is_file:
        if is_there:
            raise VolumeError(f"{path} must be a file, but is a folder or a device.")
        raise VolumeError(f"{path} does not exist. Correct the path in the cohort table.")
    if path.stat().st_size == 0:
        raise VolumeError(f"{path} is empty (0 bytes). Copy it again from its source.")
    return is_nifti


# NIfTI


@dataclass(frozen=True, eq=False)
class _NiftiHeader:
    """What is needed to read the voxels of a NIfTI file."""

    about: Header
    kind: np.dtype[np.generic]
    offset: int
    slope: float
    intercept: float

    @property
    def num_bytes(self) -> int:
        """Size of the whole file, inflated."""
        num_voxels = prod(self.about.shape) * self.about.num_channels
        return self.offset + num_voxels * self.kind.itemsize


def _read_nifti(path: Path) -> tuple[Volume, ...]:
    header = _read_nifti_header(path)
    content = _content(path, header.num_bytes)
    about = header.about
    # NIfTI's first axis runs fastest, so each channel is a contiguous part of the file.
    stored = np.frombuffer(content, header.kind, offset=header.offset)
    parts = stored.reshape(about.num_channels, -1)
    return tuple(
        Volume(
            np.ascontiguousarray(_rescaled(path, part, header).reshape(about.shape, order="F")),
            about.affine,
        )
        for part in parts
    )


def _rescaled(
    path: Path, stored: np.ndarray, header: _NiftiHeader
) -> Float32[np.ndarray, " voxels"]:
    """Apply a file's slope and intercept, in float64, and round to float32."""
    is_plain = (header.slope, header.intercept) == (1.0, 0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        if is_plain:
            voxels = stored.astype(np.float32)
        else:
            scaled = stored.astype(np.float64) * header.slope + header.intercept
            voxels = scaled.astype(np.float32)
    lost = ~np.isfinite(voxels) & np.isfinite(stored)
    if lost.any():
        raise VolumeError(
            f"{path}: {int(lost.sum())} voxels overflow float32 (stored value "
            f"{stored[lost][0]}, slope {header.slope}, intercept {header.intercept}). Correct "
            "scl_slope and scl_inter, or rescale the voxels."
        )
    return voxels


def _read_nifti_header(path: Path) -> _NiftiHeader:
    raw = _raw_nifti_header(path)
    num_axes = int(raw["dim"][0])
    if num_axes not in (NUM_AXES, NUM_AXES + 1):
        raise VolumeError(
            f"{path}: a volume must have 3 axes, or 4 with channels, but dim[0] is {num_axes}. "
            "Save one 3D volume per sequence; save a plane as PNG or TIFF."
        )
    dims = [int(size) for size in raw["dim"][1 : num_axes + 1]]
    if min(dims) < 1 or prod(dims) > MAX_VOXELS:
        raise VolumeError(
            f"{path}: every axis must have a voxel, and all together at most {MAX_VOXELS}, but "
            f"dim is {dims}. The header is damaged, or the image must be downsampled."
        )
    code = int(raw["datatype"])
    if code not in VOXEL_TYPES:
        raise VolumeError(
            f"{path}: voxels must be real numbers of a NIfTI type {sorted(VOXEL_TYPES)}, but "
            f"datatype is {code} (32 and 1792 are complex, 128 is RGB). Save as int16 or float32."
        )
    least_offset = (
        NIFTI1_BYTES if int(raw["sizeof_hdr"]) == NIFTI1_BYTES else NIFTI2_BYTES
    ) + EXTENSION_FLAG_BYTES
    offset = float(raw["vox_offset"])
    if not (least_offset <= offset < 2**53 and offset == int(offset)):
        raise VolumeError(
            f"{path}: vox_offset must be a whole number of at least {least_offset}, got {offset}. "
            "The header is damaged; save the image again."
        )
    slope, intercept = float(raw["scl_slope"]), float(raw["scl_inter"])
    if not (np.isfinite(slope) and np.isfinite(intercept)):
        raise VolumeError(
            f"{path}: scl_slope and scl_inter must be finite, got {slope} and {intercept}. Set "
            "them to 1 and 0 if the voxels need no scaling."
        )
    if slope == 0:  # NIfTI's way to say that there is no scaling
        slope, intercept = 1.0, 0.0
    num_channels = dims[3] if len(dims) > NUM_AXES else 1
    about = Header(tuple(dims[:NUM_AXES]), num_channels, _affine(path, raw))
    kind = np.dtype(VOXEL_TYPES[code]).newbyteorder(raw.endianness)
    header = _NiftiHeader(about, kind, int(offset), slope, intercept)
    num_stored = path.stat().st_size
    num_possible = num_stored * (MAX_INFLATION if _is_gzip_name(path) else 1)
    if header.num_bytes > num_possible:
        raise VolumeError(
            f"{path}: the header promises {header.num_bytes} bytes (dim {dims}, {kind}), but the "
            f"file's {num_stored} bytes can hold at most {num_possible}. It is truncated or "
            "damaged; copy it again from its source."
        )
    return header


def _raw_nifti_header(path: Path) -> Nifti1Header:
    """Read the header's bytes as what they say they are, in either byte order."""
    head = _head(path, NIFTI2_BYTES)
    if head.startswith(GZIP_MAGIC):
        raise VolumeError(f"{path} is gzipped, but is not named so. Name it .nii.gz.")
    if len(head) < NIFTI1_BYTES:
        raise VolumeError(
            f"{path}: a NIfTI header has {NIFTI1_BYTES} bytes, but the file holds {len(head)}. "
            "It is truncated; copy it again from its source."
        )
    sizes = {order: struct.unpack(f"{order}i", head[:4])[0] for order in "<>"}
    for order, size in sizes.items():
        if size == NIFTI1_BYTES:
            header, magic = Nifti1Header(head[:NIFTI1_BYTES], order, check=False), b"n+1"
            break
        if size == NIFTI2_BYTES and len(head) == NIFTI2_BYTES:
            header, magic = Nifti2Header(head, order, check=False), b"n+2"
            break
    else:
        raise VolumeError(
            f"{path}: sizeof_hdr must be {NIFTI1_BYTES} or {NIFTI2_BYTES}, got "
            f"{sizes['<']}. The header is damaged, or this is no NIfTI file."
        )
    found = bytes(header["magic"])
    if not found.startswith(magic):
        raise VolumeError(
            f"{path}: the magic must be {magic!r} (header and voxels in one file), got {found!r}. "
            "Save the image as one .nii or .nii.gz file."
        )
    return header


def _affine(path: Path, raw: Nifti1Header) -> Float64[np.ndarray, "4 4"]:
    """Take the affine from sform or qform, which must not contradict each other."""
    sform_code, qform_code = int(raw["sform_code"]), int(raw["qform_code"])
    if sform_code <= 0 and qform_code <= 0:
        raise VolumeError(
            f"{path}: the orientation is unknown (sform_code {sform_code}, qform_code "
            f"{qform_code}), so left cannot be told from right. Convert the image from DICOM "
            "again, or set the sform if you know it."
        )
    edges = raw["pixdim"][1:4].astype(np.float64)
    if not (np.isfinite(edges).all() and (edges > 0).all()):
        raise VolumeError(
            f"{path}: voxel sizes must be finite and above 0, but pixdim is {edges.tolist()}. "
            "Correct the header, or convert the image from DICOM again."
        )
    unit = int(raw["xyzt_units"]) & SPATIAL_UNITS
    if unit not in MM_PER_UNIT:
        raise VolumeError(
            f"{path}: the unit of length must be one of {sorted(MM_PER_UNIT)}, but xyzt_units "
            f"says {unit}. Set it to 2 (millimetre) if the voxel sizes are in mm."
        )
    forms: dict[str, np.ndarray] = {}
    if sform_code > 0:
        forms["sform"] = raw.get_sform()
    if qform_code > 0:
        raw = raw.copy()
        raw["pixdim"][0] = -1 if raw["pixdim"][0] < 0 else 1  # NIfTI: 0 means 1
        try:
            forms["qform"] = raw.get_qform()
        except (HeaderDataError, ValueError, np.linalg.LinAlgError) as error:
            raise VolumeError(
                f"{path}: the qform is no rotation ({error}). Correct the header, or set "
                "qform_code to 0 if the sform is right."
            ) from error
    for name, form in forms.items():
        _check_affine(path, name, form)
    if len(forms) > 1:
        shape = [max(int(size), 1) for size in raw["dim"][1:4]]
        apart = _disagreement(forms["qform"], forms["sform"], shape)
        if apart > MAX_FORM_DISAGREEMENT:
            raise VolumeError(
                f"{path}: qform and sform must put the image in one place, but differ by "
                f"{apart:.3g} voxels at a corner (allowed: {MAX_FORM_DISAGREEMENT}). Set the code "
                "of the wrong one to 0."
            )
    affine = next(iter(forms.values())).astype(np.float64)
    affine[:3] *= MM_PER_UNIT[unit]
    return affine


def _check_affine(path: Path, name: str, affine: np.ndarray) -> None:
    """Refuse an affine that maps no volume to a volume."""
    if not np.isfinite(affine).all():
        raise VolumeError(
            f"{path}: the {name} must be finite, got {affine[:3].tolist()}. Correct the header."
        )
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    is_flat = not (lengths > 0).all()
    if is_flat or abs(np.linalg.det(affine[:3, :3] / lengths)) < MIN_DETERMINANT:
        raise VolumeError(
            f"{path}: the {name} must map voxels to a volume, but it is singular: "
            f"{affine[:3, :3].tolist()}. Correct the header, or convert the image again."
        )


def _disagreement(
    first: np.ndarray, second: np.ndarray, shape: tuple[int, ...] | list[int]
) -> float:
    """Return how far two affines put a corner apart, in edges of the smallest voxel side."""
    corners = np.array([*product(*((0, size - 1) for size in shape))], dtype=np.float64)
    difference = first - second
    apart = np.linalg.norm(corners @ difference[:3, :3].T + difference[:3, 3], axis=1)
    return float(apart.max() / np.linalg.norm(second[:3, :3], axis=0).min())


# Bytes


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file; what its disk or its permissions refuse becomes a `VolumeError`."""
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        _refuse_unreadable(path, error)


def _refuse_unreadable(path: Path, error: OSError) -> NoReturn:
    raise VolumeError(
        f"{path} cannot be read ({error.strerror}). Correct its permissions, or copy it again "
        "from its source."
    ) from error


def _is_gzip_name(path: Path) -> bool:
    return path.name.lower().endswith(".gz")


def _head(path: Path, count: int) -> bytes:
    """Return the first bytes of a file, inflated; fewer if the file is shorter."""
    with _opened(path) as file:
        if not _is_gzip_name(path):
            return file.read(count)
        try:
            # A few bytes suffice, however long the gzip header's file name is.
            return zlib.decompressobj(GZIP_WINDOW).decompress(file.read(CHUNK_BYTES), count)
        except zlib.error as error:
            _refuse_gzip(path, error)


def _content(path: Path, count: int) -> bytes | bytearray:
    """Return all bytes of a file, inflated, which must be `count`.

    Memory grows with what the file really holds, never beyond `count`.
    """
    if not _is_gzip_name(path):
        num_stored = path.stat().st_size
        if num_stored != count:
            _refuse_size(path, str(num_stored), count)
        with _opened(path) as file:
            return file.read()
    inflater = zlib.decompressobj(GZIP_WINDOW)
    inflated = bytearray()
    with _opened(path) as file:
        while pending := file.read(CHUNK_BYTES):
            while pending:
                try:
                    inflated += inflater.decompress(pending, count + 1 - len(inflated))
                except zlib.error as error:
                    _refuse_gzip(path, error)
                pending = inflater.unconsumed_tail
                if len(inflated) > count:
                    _refuse_size(path, f"more than {count}", count)
            if inflater.unused_data:
                raise VolumeError(
                    f"{path}: one gzip member must fill the file, but bytes follow its end. "
                    "Two files were joined, or a copy went wrong; copy it again from its source."
                )
    if not inflater.eof:
        raise VolumeError(
            f"{path}: the gzip stream is truncated after {len(inflated)} bytes of {count}. Copy "
            "the file again from its source."
        )
    if len(inflated) != count:
        _refuse_size(path, str(len(inflated)), count)
    return inflated


def _refuse_size(path: Path, size: str, count: int) -> NoReturn:
    raise VolumeError(
        f"{path}: the header promises {count} bytes, but the content has {size}. The file is "
        "truncated, or its header is not its own; copy it again from its source."
    )


def _refuse_gzip(path: Path, error: zlib.error) -> NoReturn:
    raise VolumeError(
        f"{path} must be an intact gzip file ({error}). Copy it again from its source; if it is "
        "not compressed, name it .nii."
    ) from error


# Pictures


@contextmanager
def _opened_picture(path: Path) -> Iterator[Image.Image]:
    """Open a picture without decoding it; what PIL cannot do becomes a `VolumeError`."""
    kind = PICTURE_SUFFIXES[path.suffix.lower()]
    try:
        with FILTERING, warnings.catch_warnings():
            # PIL only warns of a picture that is a little too large, or whose tags are cut off.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            warnings.filterwarnings("error", "(?i).*(corrupt|truncated)", UserWarning)
            with Image.open(path, formats=[kind]) as picture:
                yield picture
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise VolumeError(
            f"{path}: a picture may have {MAX_PIXELS} pixels at most ({error}). Downsample it."
        ) from error
    except UNREADABLE as error:
        raise VolumeError(
            f"{path} cannot be read as {kind} ({error}). It is damaged or of another kind; copy "
            "it again from its source, or save it as PNG."
        ) from error


def _pages(path: Path, picture: Image.Image) -> Iterator[Image.Image]:
    """Go through a picture's pages, each checked before it is decoded."""
    num_pages = getattr(picture, "n_frames", 1)
    if num_pages > 1 and picture.format != "TIFF":
        raise VolumeError(f"{path} must be one picture, but is an animation of {num_pages}.")
    size = picture.size
    if prod(size) * num_pages > MAX_PIXELS:
        raise VolumeError(
            f"{path}: a picture may have {MAX_PIXELS} pixels at most, but has {num_pages} of "
            f"{size[0]} x {size[1]}. Downsample it."
        )
    for number in range(num_pages):
        picture.seek(number)
        if picture.size != size:
            raise VolumeError(
                f"{path}: all pages must have one size, but page {number + 1} has {picture.size} "
                f"and page 1 {size}. Resample them to one grid."
            )
        _check_page(path, picture)
        yield picture


def _check_page(path: Path, page: Image.Image) -> None:
    """Refuse what PIL would decode into other numbers than the file holds."""
    if page.mode not in GRAY_MODES | COLOUR_MODES:
        raise VolumeError(
            f"{path}: a picture must be gray or RGB, but its mode is {page.mode} (P is a palette "
            "of colours, CMYK is for print). Save it as gray."
        )
    orientation = page.getexif().get(ExifTags.Base.Orientation, 1)
    if orientation != 1:
        raise VolumeError(
            f"{path}: pixels must be stored the way up they are shown, but EXIF asks for turn "
            f"{orientation}. Save the picture turned."
        )
    bits = _bits_per_sample(path, page)
    if bits > EIGHT_BITS and page.mode in COLOUR_MODES:
        raise VolumeError(
            f"{path}: colours of {bits} bits would be cut to 8. Save each channel as a gray page "
            "of a TIFF, which keeps 16 bits."
        )


def _bits_per_sample(path: Path, page: Image.Image) -> int:
    """Return the file's bits per sample, which PIL's mode does not always tell."""
    if page.format == "TIFF":
        bits = page.getexif().get(BITS_PER_SAMPLE, 1)
        return max(bits) if isinstance(bits, tuple) else int(bits)
    if page.format == "PNG":
        # Signature (8), length and name of the first chunk (8), width, height (8), bit depth.
        return _head(path, 25)[24]
    return EIGHT_BITS


def _read_picture(path: Path) -> tuple[Volume, ...]:
    channels = []
    with _opened_picture(path) as picture:
        for page in _pages(path, picture):
            pixels = np.asarray(page, dtype=np.float32)
            planes = pixels[:, :, None] if pixels.ndim == 2 else pixels  # noqa: PLR2004
            channels += [
                # Rows run down the image; the second axis runs up.
                Volume(np.ascontiguousarray(plane[::-1].T), np.eye(4))
                for plane in np.moveaxis(planes, -1, 0)
            ]
    return tuple(channels)
