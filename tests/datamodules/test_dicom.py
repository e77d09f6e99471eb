"""DICOM: the picture that a viewer shows."""

import struct
import tracemalloc

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataelem import RawDataElement
from pydicom.pixels.processing import apply_voi_lut
from pydicom.tag import Tag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
)

from tests.datamodules.radiographs import as_bytes, encoded, hides_the_patient, radiograph, sequence
from xrj.datamodules.decoding import decode_image, image_format
from xrj.datamodules.images import read_image
from xrj.justify.intake import shown_name


@pytest.fixture
def grey():
    return np.random.default_rng(0).integers(0, 256, (40, 30), dtype=np.uint8)


@pytest.fixture
def deep():
    """12 bits in 16, every value once."""
    return np.arange(4096, dtype=np.uint16).reshape(64, 64)


def shown(pixels, **tags):
    return decode_image(as_bytes(radiograph(pixels, **tags)), "x.dcm")


def test_a_file_is_known_by_its_content(tmp_path, grey):
    data = as_bytes(radiograph(grey))
    assert image_format(data) == "DICOM"
    (tmp_path / "no-suffix").write_bytes(data)
    assert np.array_equal(read_image(tmp_path / "no-suffix"), grey)
    Image.fromarray(grey).save(tmp_path / "really.dcm", format="PNG")
    assert np.array_equal(read_image(tmp_path / "really.dcm"), grey)


@pytest.mark.parametrize(
    "syntax",
    [
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    ],
    ids=lambda syntax: syntax.name,
)
def test_uncompressed_syntaxes_say_the_same(grey, deep, syntax):
    if syntax != ExplicitVRBigEndian:  # eight bits are swapped in pairs there
        assert np.array_equal(shown(grey, syntax=syntax), grey)
    window = {"BitsStored": 12, "WindowCenter": 2048, "WindowWidth": 4096}
    assert np.array_equal(shown(deep, syntax=syntax, **window), shown(deep, **window))


@pytest.mark.parametrize("function", [None, "LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_a_window_is_the_standards(deep, function, photometric):
    tags = {"WindowCenter": 1500, "WindowWidth": 900, "PhotometricInterpretation": photometric}
    if function:
        tags["VOILUTFunction"] = function
    dataset = radiograph(deep, BitsStored=12, **tags)
    expected = apply_voi_lut(deep, dataset) / 4095 * 255
    if photometric == "MONOCHROME1":
        expected = 255 - expected
    assert np.abs(decode_image(as_bytes(dataset), "x") - expected).max() <= 0.51


def test_the_first_of_several_windows_counts(deep):
    one = shown(deep, BitsStored=12, WindowCenter=1000, WindowWidth=500)
    both = shown(deep, BitsStored=12, WindowCenter=[1000, 3000], WindowWidth=[500, 100])
    assert np.array_equal(both, one)


def test_a_window_of_no_width_is_no_window(deep):
    bare = shown(deep, BitsStored=12)
    assert np.array_equal(shown(deep, BitsStored=12, WindowCenter=9, WindowWidth=0), bare)
    assert np.array_equal(shown(deep, BitsStored=12, WindowWidth=9), bare)


@pytest.mark.parametrize("stored", [10, 12, 16])
def test_without_a_window_deep_values_are_stretched_like_a_png(tmp_path, stored):
    values = np.linspace(100, 2**stored - 90, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(values).save(tmp_path / "a.png")
    read = shown(values, BitsStored=stored)
    assert np.array_equal(read, read_image(tmp_path / "a.png"))
    inverted = shown(values, BitsStored=stored, PhotometricInterpretation="MONOCHROME1")
    assert np.array_equal(inverted, 255 - read)


def test_padding_does_not_stretch(deep):
    values = deep[:60] + np.uint16(1)
    padded = np.vstack([values, np.zeros((4, 64), np.uint16)])
    read = shown(padded, BitsStored=13, PixelPaddingValue=0)
    assert np.array_equal(read[:60], shown(values, BitsStored=13))
    assert not read[60:].any()
    limits = shown(padded, BitsStored=13, PixelPaddingValue=0, PixelPaddingRangeLimit=20)
    assert limits[0, 20] <= limits[0, 21] == 0 < limits[0, 40]


def test_signed_values_and_rescaling(deep):
    signed = deep.astype(np.int16) - 2048
    window = {"BitsStored": 12, "WindowWidth": 800}
    plain = shown(deep, WindowCenter=2300, **window)
    assert np.array_equal(shown(signed, WindowCenter=252, **window), plain)
    rescaled = shown(
        signed, WindowCenter=602.5, WindowWidth=1599, BitsStored=12, RescaleSlope=2,
        RescaleIntercept=100,
    )  # fmt: skip
    assert np.abs(rescaled.astype(int) - plain).max() <= 1
    assert np.array_equal(shown(signed, BitsStored=12), shown(deep, BitsStored=12))


@pytest.mark.parametrize("first", [0, 100])
def test_lookup_tables(deep, first):
    curve = (np.linspace(0, 1, 4096) ** 2 * 1023).round().astype(int)
    table = {"LUTDescriptor": [4096, first, 16], "LUTData": curve.astype("<u2").tobytes()}
    expected = curve[np.clip(deep.astype(int) - first, 0, 4095)] / 1023 * 255
    window = {"WindowCenter": 511.5, "WindowWidth": 1023, "VOILUTFunction": "LINEAR_EXACT"}
    modality = shown(deep, BitsStored=12, ModalityLUTSequence=sequence(**table), **window)
    assert np.abs(modality - expected).max() <= 0.51
    voi = shown(deep, BitsStored=12, VOILUTSequence=sequence(**table))
    assert np.abs(voi - expected).max() <= 0.51


def test_bits_beyond_the_stored_ones_do_not_count(deep):
    expected = shown(deep, BitsStored=12)
    assert np.array_equal(shown(deep | np.uint16(0x5000), BitsStored=12), expected)
    signed = deep.astype(np.int16) - 2048
    garbled = signed ^ np.int16(0x5000)
    assert np.array_equal(shown(garbled, BitsStored=12), shown(signed, BitsStored=12))


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
def test_colour_becomes_luma(grey, photometric):
    colour = np.dstack([grey, grey[::-1], grey[:, ::-1]])
    stored = (
        np.asarray(Image.fromarray(colour).convert("YCbCr")) if photometric != "RGB" else colour
    )
    expected = np.asarray(Image.fromarray(colour).convert("L")).astype(int)
    read = shown(stored, PhotometricInterpretation=photometric)
    assert np.abs(read - expected).max() <= 2


def test_compressed_syntaxes_say_the_same():
    """pydicom's own files: one picture of 16 bits, signed, in six encodings."""
    pytest.importorskip("gdcm")
    names = ["", "_implicit", "_bigendian", "_RLE", "_jp2klossless", "_jpeg_ls_lossless"]
    read = []
    for name in names:
        dataset = dcmread(get_testdata_file(f"MR_small{name}.dcm", download=False))
        dataset.Modality = "DX"
        read.append(decode_image(as_bytes(dataset), "x"))
    assert read[0].std() > 10
    assert all(np.array_equal(picture, read[0]) for picture in read[1:])


@pytest.mark.parametrize(
    ("syntax", "kind", "tolerance"),
    [(JPEGBaseline8Bit, "JPEG", 6), (JPEG2000Lossless, "JPEG2000", 0)],
)
def test_pillow_decodes_without_gdcm(monkeypatch, syntax, kind, tolerance):
    smooth = np.add.outer(np.arange(64), np.arange(48)).astype(np.uint8) * 2
    dataset = radiograph(smooth, syntax=syntax, frame=encoded(smooth, kind))
    monkeypatch.setattr("pydicom.pixels.decoders.gdcm.HAVE_GDCM", False)
    assert np.abs(decode_image(as_bytes(dataset), "x").astype(int) - smooth).max() <= tolerance


ODD_WINDOWS = {
    "decimal comma": ("2030,5", "3060,0", ("2030.5", "3060")),
    "several with commas": ("2030,5\\1000", "3060,0\\9", ("2030.5", "3060")),
    "the second is usable": ("abc\\2030", "9\\3060", ("2030", "3060")),
    "text": ("abc", "def", None),
    "negative": ("2030", "-5", None),
    "not a number": ("nan", "3060", None),
    "infinite": ("2030", "inf", None),
    "empty": ("", "", None),
    "nothing but separators": ("\\\\", "\\", None),
    "NUL": ("2030\0", "3060\0", ("2030", "3060")),
}


def with_raw(dataset, **texts):
    """Return a file whose fields hold texts that pydicom would refuse to write."""
    for keyword, text in texts.items():
        raw = text.encode() + b" " * (len(text) % 2)
        dataset[keyword] = RawDataElement(Tag(keyword), "DS", len(raw), raw, 0, False, True)
    return as_bytes(dataset)


@pytest.mark.parametrize("kind", ODD_WINDOWS)
def test_a_window_is_read_or_gives_way_to_the_stretch(deep, kind):
    centre, width, usable = ODD_WINDOWS[kind]
    doubts = []
    data = with_raw(radiograph(deep, BitsStored=12), WindowCenter=centre, WindowWidth=width)
    read = decode_image(data, "x", warn=doubts.append)
    expected = {"WindowCenter": usable[0], "WindowWidth": usable[1]} if usable else {}
    assert np.array_equal(read, shown(deep, BitsStored=12, **expected))
    assert len(doubts) == (not usable and centre.strip("\\") != "")


def test_a_broken_table_gives_way_to_the_window(deep):
    window = {"BitsStored": 12, "WindowCenter": 2030, "WindowWidth": 1500}
    broken = sequence(LUTDescriptor=[4096, 0, 16], LUTData=bytes(4))
    assert np.array_equal(shown(deep, VOILUTSequence=broken, **window), shown(deep, **window))


RESCALED = [(-10, 3000), (10, 0), (1, -1024), (0.01, 0), (-0.001, 5), (1e6, 1e9), ("-1,5", "3")]


@pytest.mark.parametrize(("slope", "intercept"), RESCALED)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4"])
def test_the_range_after_rescaling_is_stretched(deep, slope, intercept, photometric, kind):
    """Whatever the slope: the picture is that of the stored values, or its negative."""
    bits = 8 if kind[1] == "1" else 12
    stored = (deep >> (12 - bits)).astype(np.int64) - (2 ** (bits - 1) if kind[0] == "i" else 0)
    tags = {"BitsStored": bits, "PhotometricInterpretation": photometric}
    plain = np.rint((deep >> (12 - bits)) / (2**bits - 1) * 255)
    dataset = radiograph(stored.astype(kind), **tags)
    read = decode_image(
        with_raw(dataset, RescaleSlope=str(slope), RescaleIntercept=str(intercept)), "x"
    )
    turned = str(slope).startswith("-") != (photometric == "MONOCHROME1")
    assert np.abs(read - (255 - plain if turned else plain)).max() <= 1


def test_a_table_of_eight_bits_is_stretched(grey):
    for bits, white in ((16, 4000), (16, 30), (12, 4095)):
        table = (np.linspace(0, 1, 256) * white).round()
        lut = sequence(LUTDescriptor=[256, 0, bits], LUTData=table.astype("<u2").tobytes())
        expected = table[grey] / white * 255
        assert np.abs(shown(grey, ModalityLUTSequence=lut) - expected).max() <= 0.51


@pytest.mark.parametrize("kind", ["u2", "i2"])
def test_a_marker_does_not_darken_a_stretched_picture(deep, kind):
    marked = (deep // 4 + 300).astype(kind)
    marked[:3, :3] = 32767
    read = shown(marked, BitsStored=16)
    assert read[8:].max() >= 250
    assert read[:3, :3].min() == 255


@pytest.mark.parametrize("stored", [12, 16])
def test_thirty_two_bits_allocated_are_read_within_the_limits(deep, stored):
    tracemalloc.start()
    read = shown(deep.astype(np.uint32), BitsStored=stored)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(read, shown(deep, BitsStored=stored))
    assert peak < 20_000_000


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]
)
@pytest.mark.parametrize("meta", [True, False])
def test_a_file_without_its_preamble_is_read(deep, syntax, meta):
    window = {"BitsStored": 12, "WindowCenter": 2030, "WindowWidth": 3060}
    data = as_bytes(radiograph(deep, syntax=syntax, **window))
    start = 132 if meta else 144 + struct.unpack_from("<I", data, 140)[0]
    assert image_format(data[start : start + 132]) == "DICOM"
    assert np.array_equal(decode_image(data[start:], "x"), shown(deep, **window))


def test_the_shape_of_presentation_tells_the_polarity(deep):
    for shape, photometric in (("IDENTITY", "MONOCHROME2"), ("INVERSE", "MONOCHROME1")):
        dataset = radiograph(deep, BitsStored=12, PresentationLUTShape=shape)
        del dataset.PhotometricInterpretation
        expected = shown(deep, BitsStored=12, PhotometricInterpretation=photometric)
        assert np.array_equal(decode_image(as_bytes(dataset), "x"), expected)


@pytest.mark.parametrize(
    "keyword", ["SamplesPerPixel", "BitsStored", "HighBit", "PixelRepresentation"]
)
def test_what_follows_from_the_rest_may_be_missing(grey, keyword):
    dataset = radiograph(grey)
    delattr(dataset, keyword)
    assert np.array_equal(decode_image(as_bytes(dataset), "x"), grey)


@pytest.mark.parametrize("padding", [1, 8])
def test_padding_behind_the_picture_does_not_matter(padding):
    grey = np.random.default_rng(0).integers(0, 256, (41, 31), dtype=np.uint8)
    dataset = radiograph(grey)
    dataset.PixelData += bytes(padding)
    assert np.array_equal(decode_image(as_bytes(dataset), "x"), grey)


def test_padding_of_signed_values_may_be_written_unsigned(deep):
    signed = deep.astype(np.int16) - 2048
    padded = np.vstack([signed, np.full((20, 64), -30000, np.int16)])
    for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian):
        dataset = radiograph(padded, BitsStored=16, syntax=syntax)
        dataset.add_new("PixelPaddingValue", "US", 65536 - 30000)
        read = decode_image(as_bytes(dataset), "x")
        assert np.array_equal(read[:64], shown(signed, BitsStored=16))


PASSES = {
    "frontal": {"ViewPosition": "PA", "PatientOrientation": ["L", "F"]},
    "unknown view": {"ViewPosition": "XYZ", "PatientOrientation": ""},
    "in the bed": {"ViewPosition": "AP", "BodyPartExamined": "PORT CHEST"},
    "chest": {"BodyPartExamined": "CHEST"},
    "view code": {"ViewCodeSequence": sequence(CodeMeaning="postero-anterior")},
    "region": {"AnatomicRegionSequence": sequence(CodeMeaning="Thorax")},
    "nothing stated": {"Modality": "", "BodyPartExamined": ""},
    "secondary capture": {"Modality": "OT", "NumberOfFrames": 1},
}  # fmt: skip


@pytest.mark.parametrize("kind", PASSES)
def test_what_the_header_leaves_open_passes(grey, kind):
    assert np.array_equal(shown(grey, **PASSES[kind]), grey)


DIRECTIONS = {"L": (1, 0), "R": (-1, 0), "F": (0, 1), "H": (0, -1)}
"""Steps to the patient's left and to the feet."""


def stored_with(upright, across, down):
    """Return what a detector stores whose rows and columns run to these sides of the patient."""
    row, column = np.array(DIRECTIONS[across[0]]), np.array(DIRECTIONS[down[0]])
    height, width = upright.shape
    shape = (height, width) if column[1] else (width, height)
    i, j = np.indices(shape)[..., None]
    left, foot = np.moveaxis(i * column + j * row, -1, 0)
    return upright[foot - foot.min(), left - left.min()]


@pytest.mark.parametrize("across", "LR")
@pytest.mark.parametrize("down", "FH")
@pytest.mark.parametrize("on_its_side", [False, True])
def test_a_mirrored_or_turned_picture_is_set_upright(grey, across, down, on_its_side):
    orientation = (down, across) if on_its_side else (across, down)
    stored = stored_with(grey, *orientation)
    assert np.array_equal(stored, grey) == (orientation == ("L", "F"))
    assert np.array_equal(shown(stored, PatientOrientation=list(orientation)), grey)


def test_the_main_direction_counts(grey):
    assert np.array_equal(shown(grey[:, ::-1], PatientOrientation=["RA", "FP"]), grey)


def test_a_compressed_picture_is_set_upright_too(grey):
    frame = encoded(grey[:, ::-1].copy(), "JPEG2000")
    tags = {"syntax": JPEG2000Lossless, "frame": frame, "PatientOrientation": ["R", "F"]}
    assert np.array_equal(shown(grey, **tags), grey)


@pytest.mark.parametrize(
    "orientation", ["", "R", ["R", ""], ["", "H"], ["R", "L"], ["H", "F"], ["R", "A"], ["X", "H"]]
)
def test_an_orientation_that_leaves_a_direction_open_turns_nothing(grey, orientation):
    assert np.array_equal(shown(grey, PatientOrientation=orientation), grey)


def test_outputs_call_a_dicom_file_by_its_content(tmp_path, grey):
    data = as_bytes(radiograph(grey))
    names = set()
    for place in ("DOE_JANE.dcm", "DOE_/JANE", "other.DCM"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_bytes(data)
        names.add(shown_name(tmp_path / place))
    (name,) = names
    assert name.startswith("xray-")
    (tmp_path / "DOE_JANE.dcm").write_bytes(b"broken")
    assert hides_the_patient(shown_name(tmp_path / "DOE_JANE.dcm"))
    assert shown_name(tmp_path / "a.png") == str(tmp_path / "a.png")
