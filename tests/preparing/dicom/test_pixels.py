"""Pixels of every encoding become the values that were stored; damage is named by slice."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the library's own abbreviation
from pydicom import dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import get_encoder
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from ranoscope.errors import ImageError
from ranoscope.preparing.dicom.pixels import read_pixels


def compressed_by_itk(values, compressor, folder):
    """The code stream of one image as GDCM compresses it."""
    path = str(folder / "one.dcm")
    writer = sitk.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.SetUseCompression(True)
    writer.SetCompressor(compressor)
    writer.SetFileName(path)
    writer.Execute(sitk.GetImageFromArray(values))
    made = dcmread(path)
    return made.file_meta.TransferSyntaxUID, next(generate_frames(made.PixelData, number_of_frames=1))


def put(one, syntax, frame):
    one.file_meta.TransferSyntaxUID = syntax
    one.PixelData = encapsulate([frame])
    one["PixelData"].VR = "OB"


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless, JPEGLosslessSV1])
def test_compressed_slices_come_back_exactly(tmp_path, scanner, syntax, signed):
    lowest, kind = (-3000, np.int16) if signed else (0, np.uint16)
    written = [(scanner.values(index).astype(int) + lowest).astype(kind) for index in range(4)]
    more = {"RescaleSlope": 2, "RescaleIntercept": -5, "PixelRepresentation": int(signed)}
    slices = scanner.slices(4, **more)
    (tmp_path / "itk").mkdir()
    for one, values in zip(slices, written, strict=True):
        if syntax in (RLELossless, JPEGLSLossless):
            encoder = get_encoder(syntax)
            if not encoder.is_available:
                pytest.skip(f"no encoder of {syntax.name} is installed")
            frame = encoder.encode(
                values, rows=16, columns=12, samples_per_pixel=1, number_of_frames=1, bits_allocated=16, bits_stored=16,
                pixel_representation=int(signed), photometric_interpretation="MONOCHROME2",
            )  # fmt: skip
        else:
            compressor = "JPEG2000" if syntax == JPEG2000Lossless else "JPEG"
            made, frame = compressed_by_itk(values, compressor, tmp_path / "itk")
            assert made in (syntax, JPEG2000)
        put(one, syntax, frame)
    (series,) = scanner.series(scanner.write(tmp_path / "files", slices))
    data = series.load().data
    # Columns grow to the left, rows to the back: both are turned on the way to RAS.
    for index, values in enumerate(written):
        assert np.array_equal(data[:, :, index], values.T[::-1, ::-1] * 2.0 - 5)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_other_ways_to_write_a_file(tmp_path, scanner, syntax):
    slices = scanner.slices(4)
    for number, one in enumerate(slices):
        one.file_meta.TransferSyntaxUID = syntax
        values = scanner.values(number)
        if syntax == ExplicitVRBigEndian:
            one.PixelData = values.astype(">u2").tobytes()
        implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
        one.save_as(tmp_path / str(number), enforce_file_format=True, implicit_vr=implicit, little_endian=little)
        one.PixelData = values.tobytes()
    scanner.require_written(scanner.series(tmp_path)[0].load(), slices)


@pytest.mark.parametrize(
    ("layout", "raw", "expected"),
    [
        ({"BitsStored": 12, "HighBit": 11}, [0x0FFF, 0xF001], [4095, 1]),
        ({"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 1}, [0x0FFF, 0x07FF], [-1, 2047]),
        ({"BitsStored": 12, "HighBit": 15}, [0xFFF0, 0x001F], [4095, 1]),
        ({"PixelRepresentation": 1}, [0x8000, 0x7FFF], [-32768, 32767]),
    ],
)
def test_bits_beside_the_value_are_no_part_of_it(tmp_path, scanner, layout, raw, expected):
    (one,) = scanner.slices(1, **layout)
    one.PixelData = np.array(raw * (16 * 12 // 2), np.uint16).tobytes()
    scanner.write(tmp_path, [one])
    pixels = read_pixels(tmp_path / "IM0000", "x")
    assert pixels.shape == (1, 16, 12)
    assert pixels.ravel()[:2].tolist() == expected


def test_a_byte_per_pixel_of_an_odd_count_is_padded(tmp_path, scanner):
    (one,) = scanner.slices(1, Rows=3, Columns=3, BitsAllocated=8, BitsStored=8, HighBit=7)
    one.PixelData = bytes(range(9)) + b"\0"
    scanner.write(tmp_path, [one])
    assert read_pixels(tmp_path / "IM0000", "x").ravel().tolist() == list(range(9))


def without_pixels(one):
    del one.PixelData


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (without_pixels, "Expected pixels, got none"),
        (lambda one: setattr(one, "PixelData", one.PixelData[:-20]), "384 bytes of pixels, got 364; the file may"),
        (lambda one: setattr(one, "PixelData", one.PixelData + b"\0" * 20), "384 bytes of pixels, got 404"),
        (lambda one: setattr(one, "BitsAllocated", 12), "pixels of 8, 16 or 32 bits, got none described"),
        (lambda one: delattr(one, "PixelRepresentation"), "pixels of 8, 16 or 32 bits, got none described"),
        (lambda one: setattr(one, "RescaleSlope", 0), "a RescaleSlope"),
        (lambda one: setattr(one, "RescaleSlope", "1e300"), "finite intensities"),
        (lambda one: put(one, RLELossless, b"no RLE at all"), r"pixels that can be decompressed \(RLE Lossless\)"),
        (lambda one: put(one, JPEG2000Lossless, b"no JPEG at all"), "pixels that can be decompressed"),
        (lambda one: put(one, JPEGLosslessSV1, b"\xff\xd8no JPEG"), "pixels that can be decompressed"),
        # JPEG of 205 bits: GDCM would end the process.
        (lambda one: put(one, JPEGLosslessSV1, bytes.fromhex("ffd8ffc3000bcd0010000c01011100")), "can be decompressed"),
        (lambda one: put(one, HTJ2KLossless, b"what we do not read"), "export the series uncompressed"),
    ],
)  # fmt: skip
def test_a_spoilt_slice_is_named(tmp_path, scanner, spoil, words):
    slices = scanner.slices(4)
    spoil(slices[2])
    (series,) = scanner.series(scanner.write(tmp_path, slices))
    with pytest.raises(ImageError, match=words) as error:
        series.load()
    assert "in series 5, slice 3 (file 3 of the folder); " in str(error.value)
    assert str(tmp_path) not in str(error.value)
