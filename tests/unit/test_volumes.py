"""Volumes: what is read is what was written, and nothing is read that would be misread."""

import gzip
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from nibabel.loadsave import load as nibabel_load
from nibabel.loadsave import save as nibabel_save
from nibabel.nifti1 import Nifti1Image, Nifti1Pair
from nibabel.nifti2 import Nifti2Image
from PIL import Image

from sitesynth.errors import VolumeError
from sitesynth.volumes import (
    Volume,
    read_channels,
    read_header,
    read_volume,
    write_nifti,
    write_png,
)


AFFINE = np.array([[-2.0, 0, 0, 9], [0, -3.0, 0, 8], [0, 0, 4.0, -7], [0, 0, 0, 1]])
"""An LPS grid of 2 x 3 x 4 mm."""

SHAPE = (3, 4, 5)

SIZEOF_HDR, DIM, DATATYPE, PIXDIM, VOX_OFFSET, SCL_SLOPE = 0, 40, 70, 76, 108, 112
XYZT_UNITS, QFORM_CODE, SFORM_CODE, QUATERN_B, SROW_X, MAGIC = 123, 252, 254, 256, 280, 344


def ramp(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Every voxel its own number, so that no two may change places."""
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def nifti(dtype: str = "i2") -> bytes:
    """A good NIfTI-1 file: sform and qform agree, no scaling."""
    image = Nifti1Image(ramp().astype(dtype), AFFINE, dtype=np.dtype(dtype))
    image.set_sform(AFFINE, 1)
    image.set_qform(AFFINE, 1)
    content: bytes = image.to_bytes()
    return content


def patched(offset: int, layout: str, *values: float | bytes) -> bytes:
    """The good file with some header bytes replaced."""
    content = nifti()
    new = struct.pack(f"<{layout}", *values)
    return content[:offset] + new + content[offset + len(new) :]


def png(pixels: np.ndarray, folder: Path) -> bytes:
    """An encoded picture."""
    path = folder / "encoded.png"
    Image.fromarray(pixels).save(path)
    return path.read_bytes()


class TestNifti:
    @pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "A.NII.GZ"])
    def test_a_written_volume_is_read_back(self, name: str, tmp_path: Path) -> None:
        volume = Volume(ramp(), AFFINE)
        write_nifti(tmp_path / name, volume, dtype=np.int16)

        found = read_volume(tmp_path / name)
        assert np.array_equal(found.voxels, volume.voxels)
        assert np.array_equal(found.affine, AFFINE)
        assert found.spacing_mm == (2, 3, 4)
        assert found.orientation == "LPS"

    def test_another_reader_sees_the_same_volume(self, tmp_path: Path) -> None:
        write_nifti(tmp_path / "a.nii.gz", Volume(ramp(), AFFINE), dtype=np.float32)

        image = nibabel_load(tmp_path / "a.nii.gz")
        assert np.array_equal(np.asarray(image.dataobj), ramp())  # type: ignore[attr-defined]
        assert np.array_equal(image.get_qform(), AFFINE)  # type: ignore[attr-defined]

    def test_the_same_volume_is_the_same_bytes_under_any_name(self, tmp_path: Path) -> None:
        for name in ("a.nii.gz", "b.nii.gz"):
            write_nifti(tmp_path / name, Volume(ramp(), AFFINE), dtype=np.int16)

        assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()

    def test_a_sheared_volume_keeps_its_shear(self, tmp_path: Path) -> None:
        """As of a gantry that was tilted; a quaternion cannot say it, so only the sform does."""
        sheared = AFFINE.copy()
        sheared[1, 2] = 1.5
        write_nifti(tmp_path / "a.nii", Volume(ramp(), sheared), dtype=np.int16)

        assert np.array_equal(read_volume(tmp_path / "a.nii").affine, sheared)

    def test_a_type_too_narrow_for_the_voxels_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(VolumeError, match="do not fit uint8, which holds 0 to 255"):
            write_nifti(tmp_path / "a.nii", Volume(ramp() * 10, AFFINE), dtype=np.uint8)

        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        "dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8", ">i2", ">f4"]
    )
    def test_every_real_voxel_type_is_read(self, dtype: str, tmp_path: Path) -> None:
        (tmp_path / "a.nii").write_bytes(nifti(dtype))

        assert np.array_equal(read_volume(tmp_path / "a.nii").voxels, ramp())

    def test_a_big_endian_nifti_2_file_is_read(self, tmp_path: Path) -> None:
        header = Nifti2Image(ramp(), AFFINE).header.as_byteswapped(">")
        nibabel_save(Nifti2Image(ramp(), AFFINE, header), tmp_path / "a.nii.gz")

        found = read_volume(tmp_path / "a.nii.gz")
        assert np.array_equal(found.voxels, ramp())
        assert np.array_equal(found.affine, AFFINE)

    def test_slope_and_intercept_are_applied(self, tmp_path: Path) -> None:
        (tmp_path / "a.nii").write_bytes(patched(SCL_SLOPE, "ff", 0.5, 10))

        assert np.array_equal(read_volume(tmp_path / "a.nii").voxels, ramp() / 2 + 10)

    def test_slope_zero_means_no_scaling(self, tmp_path: Path) -> None:
        (tmp_path / "a.nii").write_bytes(patched(SCL_SLOPE, "ff", 0, 10))

        assert np.array_equal(read_volume(tmp_path / "a.nii").voxels, ramp())

    def test_metres_become_millimetres(self, tmp_path: Path) -> None:
        (tmp_path / "a.nii").write_bytes(patched(XYZT_UNITS, "B", 1))

        assert read_header(tmp_path / "a.nii").spacing_mm == (2000, 3000, 4000)

    def test_the_qform_serves_where_there_is_no_sform(self, tmp_path: Path) -> None:
        (tmp_path / "a.nii").write_bytes(patched(SFORM_CODE, "h", 0))

        np.testing.assert_allclose(read_volume(tmp_path / "a.nii").affine, AFFINE, atol=1e-6)

    def test_a_fourth_axis_holds_channels_in_order(self, tmp_path: Path) -> None:
        four = np.stack([ramp(), ramp() + 100, ramp() + 200], axis=-1)
        nibabel_save(Nifti1Image(four, AFFINE), tmp_path / "a.nii.gz")

        found = read_channels(tmp_path / "a.nii.gz")
        assert [channel.voxels[0, 0, 0] for channel in found] == [0, 100, 200]
        assert np.array_equal(found[1].voxels, four[..., 1])
        assert read_header(tmp_path / "a.nii.gz").num_channels == 3
        with pytest.raises(VolumeError, match="must hold one channel, but holds 3"):
            read_volume(tmp_path / "a.nii.gz")

    def test_nan_voxels_are_left_for_the_check_to_report(self, tmp_path: Path) -> None:
        voxels = ramp()
        voxels[1, 1, 1], voxels[2, 2, 2] = np.nan, np.inf
        (tmp_path / "a.nii").write_bytes(Nifti1Image(voxels, AFFINE).to_bytes())

        assert np.array_equal(read_volume(tmp_path / "a.nii").voxels, voxels, equal_nan=True)

    def test_a_header_is_read_without_the_voxels(self, tmp_path: Path) -> None:
        """A flipped bit in the voxels' checksum is not its business."""
        content = bytearray(gzip.compress(Nifti1Image(ramp((9, 9, 9)), AFFINE).to_bytes()))
        content[-8] ^= 1
        (tmp_path / "a.nii.gz").write_bytes(content)

        assert read_header(tmp_path / "a.nii.gz").shape == (9, 9, 9)


class TestPictures:
    def test_the_first_axis_is_right_and_the_second_up(self, tmp_path: Path) -> None:
        """A picture of one row above another: 1 2 3 over 4 5 6."""
        (tmp_path / "a.png").write_bytes(png(np.array([[1, 2, 3], [4, 5, 6]], "u1"), tmp_path))

        found = read_volume(tmp_path / "a.png")
        assert found.voxels.tolist() == [[4, 1], [5, 2], [6, 3]]
        assert found.orientation == "RA"
        assert found.spacing_mm == (1, 1)
        assert read_header(tmp_path / "a.png").shape == (3, 2)

    def test_a_written_plane_is_read_back_the_same_way_up(self, tmp_path: Path) -> None:
        plane = ramp((5, 3)) / 255
        write_png(tmp_path / "a.png", Volume(plane, np.eye(4)))

        np.testing.assert_array_equal(read_volume(tmp_path / "a.png").voxels, ramp((5, 3)))

    def test_a_plane_beyond_0_to_1_is_not_written(self, tmp_path: Path) -> None:
        with pytest.raises(VolumeError, match=r"must lie in 0 to 1, got 0\.0 to 1\.5"):
            write_png(tmp_path / "a.png", Volume(np.array([[0, 1.5]], "f4"), np.eye(4)))

    @pytest.mark.parametrize("name", ["a.png", "a.tif", "a.tiff"])
    def test_sixteen_bits_are_not_clipped(self, name: str, tmp_path: Path) -> None:
        Image.fromarray(np.array([[0, 300, 65535]], "u2")).save(tmp_path / name)

        assert read_volume(tmp_path / name).voxels.ravel().tolist() == [0, 300, 65535]

    def test_colours_are_channels(self, tmp_path: Path) -> None:
        pixels = np.zeros((2, 2, 3), "u1") + np.array([10, 20, 30], "u1")
        (tmp_path / "a.png").write_bytes(png(pixels, tmp_path))

        found = read_channels(tmp_path / "a.png")
        assert [channel.voxels.max() for channel in found] == [10, 20, 30]

    def test_pages_are_channels(self, tmp_path: Path) -> None:
        first, *others = (Image.fromarray(np.full((2, 3), n, "u2")) for n in (1, 2000, 3))
        first.save(tmp_path / "a.tif", save_all=True, append_images=others)

        found = read_channels(tmp_path / "a.tif")
        assert [channel.voxels.max() for channel in found] == [1, 2000, 3]
        assert read_header(tmp_path / "a.tif").num_channels == 3

    def test_a_gray_picture_saved_in_colour_is_one_channel(self, tmp_path: Path) -> None:
        gray = Image.fromarray(np.array([[10, 200]], "u1"))
        gray.convert("RGB").save(tmp_path / "a.png")

        assert read_volume(tmp_path / "a.png").voxels.ravel().tolist() == [10, 200]

    def test_a_jpeg_is_read(self, tmp_path: Path) -> None:
        """A flat one, which JPEG keeps exactly."""
        Image.fromarray(np.full((8, 8), 77, "u1")).save(tmp_path / "a.jpg")

        assert np.array_equal(read_volume(tmp_path / "a.jpg").voxels, np.full((8, 8), 77))


def bad_chunk(content: bytes, kind: bytes) -> bytes:
    """A PNG whose chunk of that kind says nonsense, with a right checksum."""
    start = content.index(kind) - 4
    length = int.from_bytes(content[start : start + 4])
    body = kind + b"\x00" * length
    end = start + 12 + length
    return content[: start + 4] + body + struct.pack(">I", zlib.crc32(body)) + content[end:]


def png_bomb() -> bytes:
    """A picture of 60000 x 60000 in some bytes."""
    return encoded_png(60000, 60000, bits=8, colour_type=0, data=bytes(9))


def encoded_png(width: int, height: int, *, bits: int, colour_type: int, data: bytes) -> bytes:
    """A PNG, chunk by chunk."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    parts = (header, b"IDAT" + zlib.compress(data), b"IEND")
    chunks = (struct.pack(">I", len(p) - 4) + p + struct.pack(">I", zlib.crc32(p)) for p in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


NAN = float("nan")
INF = float("inf")

BAD_NIFTI: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "is empty"),
    "header only": (lambda: nifti()[:348], "the header promises 472 bytes"),
    "half a header": (lambda: nifti()[:200], "a NIfTI header has 348 bytes"),
    "truncated": (lambda: nifti()[:-1], "the header promises 472 bytes"),
    "trailing bytes": (lambda: nifti() + b"x", "promises 472 bytes, but the content has 473"),
    "gzipped under a plain name": (
        lambda: gzip.compress(nifti()),
        "is gzipped, but is not named so",
    ),
    "text": (lambda: b"not an image\n" * 60, "sizeof_hdr must be 348 or 540"),
    "sizeof_hdr 0": (lambda: patched(SIZEOF_HDR, "i", 0), "sizeof_hdr must be 348 or 540, got 0"),
    "wrong magic": (lambda: patched(MAGIC, "4s", b"nope"), "the magic must be"),
    "header of a pair": (lambda: patched(MAGIC, "4s", b"ni1\0"), "the magic must be"),
    "dim[0] 9": (lambda: patched(DIM, "h", 9), "dim\\[0\\] is 9"),
    "2-D": (lambda: patched(DIM, "h", 2), "dim\\[0\\] is 2"),
    "5-D": (lambda: patched(DIM, "h", 5), "dim\\[0\\] is 5"),
    "zero dim": (lambda: patched(DIM, "hh", 3, 0), "every axis must have a voxel"),
    "negative dim": (lambda: patched(DIM, "hh", 3, -4), "every axis must have a voxel"),
    "absurd dims": (lambda: patched(DIM, "4h", 3, 32767, 32767, 32767), "at most 536870912"),
    "dims beyond the file": (
        lambda: patched(DIM, "4h", 3, 800, 800, 800),
        "the header promises 1024000352 bytes",
    ),
    "complex": (lambda: patched(DATATYPE, "h", 32), "datatype is 32"),
    "RGB": (lambda: patched(DATATYPE, "h", 128), "datatype is 128"),
    "unknown datatype": (lambda: patched(DATATYPE, "h", 77), "datatype is 77"),
    "vox_offset 0": (lambda: patched(VOX_OFFSET, "f", 0), "vox_offset must be"),
    "vox_offset NaN": (lambda: patched(VOX_OFFSET, "f", NAN), "vox_offset must be"),
    "vox_offset infinite": (lambda: patched(VOX_OFFSET, "f", INF), "vox_offset must be"),
    "vox_offset 1e9": (lambda: patched(VOX_OFFSET, "f", 1e9), "the header promises 1000000120"),
    "slope NaN": (lambda: patched(SCL_SLOPE, "f", NAN), "scl_slope and scl_inter must be finite"),
    "slope infinite": (lambda: patched(SCL_SLOPE, "f", INF), "must be finite, got inf"),
    "intercept NaN": (lambda: patched(SCL_SLOPE, "ff", 1, NAN), "must be finite, got 1.0 and nan"),
    "slope 3e38": (lambda: patched(SCL_SLOPE, "f", 3e38), "58 voxels overflow float32"),
    "float64 overflow": (
        lambda: nifti("f8")[:352] + np.full(60, 1e300).tobytes(),
        "60 voxels overflow float32",
    ),
    "pixdim 0": (lambda: patched(PIXDIM + 4, "f", 0), "voxel sizes must be finite and above 0"),
    "pixdim NaN": (lambda: patched(PIXDIM + 8, "f", NAN), "voxel sizes must be finite"),
    "unit unknown": (lambda: patched(XYZT_UNITS, "B", 5), "the unit of length must be one of"),
    "no orientation": (lambda: patched(QFORM_CODE, "hh", 0, 0), "the orientation is unknown"),
    "sform NaN": (lambda: patched(SROW_X, "f", NAN), "the sform must be finite"),
    "sform zero": (lambda: patched(SROW_X, "12f", *[0] * 12), "the sform .* is singular"),
    "sform flat": (
        lambda: patched(SROW_X, "12f", 1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0),
        "the sform .* is singular",
    ),
    "qform no rotation": (lambda: patched(QUATERN_B, "3f", 2, 2, 2), "the qform is no rotation"),
    "qform infinite": (lambda: patched(QUATERN_B + 12, "f", INF), "the qform must be finite"),
    "forms disagree": (
        lambda: patched(SROW_X + 12, "f", 19),
        "qform and sform must put the image in one place, but differ by 5 voxels",
    ),
}

BAD_GZIP: dict[str, tuple[Callable[[], bytes], str]] = {
    "not compressed": (nifti, "must be an intact gzip file"),
    "truncated": (lambda: gzip.compress(nifti())[:-9], "the gzip stream is truncated"),
    "without its checksum": (lambda: gzip.compress(nifti())[:-8], "the gzip stream is truncated"),
    "wrong checksum": (
        lambda: gzip.compress(nifti())[:-8] + b"\0" * 8,
        "must be an intact gzip file .*incorrect data check",
    ),
    "trailing bytes": (lambda: gzip.compress(nifti()) + b"x", "one gzip member must fill the file"),
    "two members": (
        lambda: gzip.compress(nifti()) + gzip.compress(nifti()),
        "one gzip member must fill the file",
    ),
    "more than the header says": (
        lambda: gzip.compress(nifti() + b"x" * 9),
        "promises 472 bytes, but the content has more than 472",
    ),
    "less than the header says": (
        lambda: gzip.compress(nifti()[:-2]),
        "promises 472 bytes, but the content has 470",
    ),
    "bomb": (
        lambda: gzip.compress(nifti() + bytes(1 << 24)),
        "promises 472 bytes, but the content has more than 472",
    ),
    "dims that no gzip of this size can hold": (
        lambda: gzip.compress(patched(DIM, "4h", 3, 800, 800, 800)),
        "can hold at most",
    ),
    "empty member": (lambda: gzip.compress(b""), "a NIfTI header has 348 bytes"),
}


@pytest.mark.parametrize(("make", "says"), BAD_NIFTI.values(), ids=BAD_NIFTI)
def test_a_bad_nifti_file_is_named_with_its_fault(
    make: Callable[[], bytes], says: str, tmp_path: Path
) -> None:
    path = tmp_path / "scan.nii"
    path.write_bytes(make())

    with pytest.raises(VolumeError, match=says) as caught:
        read_volume(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(("make", "says"), BAD_GZIP.values(), ids=BAD_GZIP)
def test_a_bad_gzip_file_is_named_with_its_fault(
    make: Callable[[], bytes], says: str, tmp_path: Path
) -> None:
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(make())

    with pytest.raises(VolumeError, match=says) as caught:
        read_volume(path)
    assert str(path) in str(caught.value)


def save_picture(folder: Path, name: str, mode: str, **options: Image.Exif) -> bytes:
    """An encoded 4 x 4 picture of some mode."""
    path = folder / name
    Image.new(mode, (4, 4)).save(path, format=None, **options)
    return path.read_bytes()


def wide_colours() -> bytes:
    """A PNG of 16-bit colours, which PIL would cut to 8."""
    return encoded_png(1, 1, bits=16, colour_type=2, data=b"\0" + b"\1\2" * 3)


def turned(folder: Path) -> bytes:
    """A JPEG that asks to be shown turned by 90 degrees."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return save_picture(folder, "turned.jpg", "L", exif=exif)


def unequal_pages(folder: Path) -> bytes:
    """A TIFF whose second page is larger."""
    first, second = Image.new("L", (4, 4)), Image.new("L", (5, 4))
    first.save(folder / "pages.tif", save_all=True, append_images=[second])
    return (folder / "pages.tif").read_bytes()


def animation(folder: Path) -> bytes:
    """A PNG that moves."""
    first, second = Image.new("L", (4, 4)), Image.new("L", (4, 4), 9)
    first.save(folder / "moves.png", save_all=True, append_images=[second])
    return (folder / "moves.png").read_bytes()


BAD_PICTURES: dict[str, tuple[str, Callable[[Path], bytes], str]] = {
    "empty": ("a.png", lambda _: b"", "is empty"),
    "not a picture": ("a.png", lambda _: b"hello" * 20, "cannot be read as PNG"),
    "truncated": (
        "a.png",
        lambda folder: png(np.arange(900, dtype="u1").reshape(30, 30), folder)[:-60],
        "cannot be read as PNG",
    ),
    "damaged": (
        "a.png",
        lambda folder: bad_chunk(png(np.ones((9, 9), "u1"), folder), b"IDAT"),
        "cannot be read as PNG",
    ),
    "bomb": ("a.png", lambda _: png_bomb(), "may have 67108864 pixels at most"),
    "JPEG named PNG": (
        "a.png",
        lambda folder: save_picture(folder, "x.jpg", "L"),
        "cannot be read as PNG",
    ),
    "truncated JPEG": (
        "a.jpg",
        lambda folder: save_picture(folder, "x.jpg", "L")[:300],
        "cannot be read as JPEG",
    ),
    "CMYK": ("a.jpg", lambda folder: save_picture(folder, "x.jpg", "CMYK"), "its mode is CMYK"),
    "palette": ("a.png", lambda folder: save_picture(folder, "x.png", "P"), "its mode is P"),
    "colours of 16 bits": ("a.png", lambda _: wide_colours(), "16 bits would be cut to 8"),
    "turned": ("a.jpg", turned, "EXIF asks for turn 6"),
    "unequal pages": ("a.tif", unequal_pages, "all pages must have one size"),
    "animation": ("a.png", animation, "must be one picture, but is an animation of 2"),
    "truncated TIFF": (
        "a.tif",
        lambda folder: save_picture(folder, "x.tif", "L")[:20],
        "cannot be read as TIFF",
    ),
}


@pytest.mark.parametrize(("name", "make", "says"), BAD_PICTURES.values(), ids=BAD_PICTURES)
def test_a_bad_picture_is_named_with_its_fault(
    name: str, make: Callable[[Path], bytes], says: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(make(tmp_path))

    with pytest.raises(VolumeError, match=says) as caught:
        read_volume(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("read", [read_volume, read_channels, read_header])
class TestPaths:
    def test_a_missing_file_is_named(self, read: Callable[[Path], object], tmp_path: Path) -> None:
        with pytest.raises(VolumeError, match=r"a\.nii\.gz does not exist"):
            read(tmp_path / "a.nii.gz")

    def test_an_unknown_suffix_is_refused(
        self, read: Callable[[Path], object], tmp_path: Path
    ) -> None:
        (tmp_path / "a.dcm").write_bytes(b"DICM")
        with pytest.raises(VolumeError, match=r"the suffix must be one of .*dcm2niix"):
            read(tmp_path / "a.dcm")

    def test_a_folder_is_refused(self, read: Callable[[Path], object], tmp_path: Path) -> None:
        (tmp_path / "a.nii").mkdir()
        with pytest.raises(VolumeError, match="must be a file, but is a folder"):
            read(tmp_path / "a.nii")

    def test_a_pipe_does_not_hang(self, read: Callable[[Path], object], tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "a.nii")
        with pytest.raises(VolumeError, match="must be a file"):
            read(tmp_path / "a.nii")


def test_the_other_half_of_a_pair_is_not_needed_to_refuse_one(tmp_path: Path) -> None:
    Nifti1Pair(ramp(), AFFINE).to_filename(tmp_path / "a.img")

    with pytest.raises(VolumeError, match="the suffix must be one of"):
        read_volume(tmp_path / "a.hdr")
