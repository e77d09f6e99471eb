"""DICOM that is refused: in one line, which never says who the patient is."""

import logging
import struct
import tracemalloc
import warnings
import zlib

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.data import get_testdata_file
from pydicom.pixels.decoders.base import Decoder
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    RLELossless,
)

from tests.datamodules.radiographs import (
    PATIENT,
    as_bytes,
    encoded,
    hides_the_patient,
    planted,
    radiograph,
    sequence,
)
from xrj.datamodules.decoding import decode_image
from xrj.datamodules.dicom import TAGS
from xrj.errors import DataError


@pytest.fixture
def grey():
    return np.random.default_rng(0).integers(0, 256, (40, 30), dtype=np.uint8)


def refused(data, **options):
    """Return why a file is refused, after checking that the reason is one line."""
    with pytest.raises(DataError) as caught:
        decode_image(data, "x.dcm", **options)
    message = str(caught.value)
    assert message.startswith("x.dcm: ")
    assert "\n" not in message
    assert ";" in message
    return message


def test_a_missing_decoder_is_named_with_its_remedy(monkeypatch, grey):
    data = as_bytes(radiograph(grey, syntax=JPEG2000Lossless, frame=encoded(grey, "JPEG2000")))
    monkeypatch.setattr(Decoder, "is_available", property(lambda decoder: False))
    message = refused(data)
    assert "JPEG 2000" in message
    assert "pip install 'xrj[dicom]'" in message


REFUSED = {
    "lateral": ({"ViewPosition": "LL"}, "lateral view (View Position)"),
    "lateral in words": ({"ViewPosition": "lateral"}, "lateral view"),
    "right lateral": ({"ViewPosition": "RL"}, "lateral view"),
    "view code": ({"ViewCodeSequence": sequence(CodeMeaning="left lateral")}, "lateral view"),
    "preset view": ({"ViewPosition": "PA", "PatientOrientation": ["A", "F"]}, "Orientation"),
    "from behind": ({"PatientOrientation": ["P", "F"]}, "Orientation"),
    "lateral on its side": ({"PatientOrientation": ["F", "A"]}, "Orientation"),
    "knee": ({"BodyPartExamined": "KNEE"}, "body part"),
    "hand": ({"AnatomicRegionSequence": sequence(CodeMeaning="Hand")}, "body part"),
    "tomography": ({"Modality": "CT"}, "no radiograph"),
    "raw": ({"PresentationIntentType": "FOR PROCESSING"}, "raw detector data"),
    "burned in": ({"BurnedInAnnotation": "YES"}, "burned into"),
    "frames": ({"NumberOfFrames": 2}, "2 frames"),
    "palette": ({"PhotometricInterpretation": "PALETTE COLOR"}, "photometric"),
    "samples": ({"SamplesPerPixel": 3}, "samples a pixel"),
    "seven bits": ({"BitsStored": 7}, "7 bits"),
    "bits beyond": ({"BitsStored": 12}, "Bits Stored, 12, is more than Bits Allocated"),
    "no photometric": ({"PhotometricInterpretation": ""}, "Photometric Interpretation is missing"),
    "photometric nonsense": ({"PhotometricInterpretation": "GREY"}, "photometric"),
    "bits": ({"BitsAllocated": 64}, "Bits Allocated"),
    "no bits": ({"BitsAllocated": None}, "Bits Allocated is missing"),
    "rows missing": ({"Rows": None}, "Rows is missing"),
    "rows halved": ({"Rows": 20}, "wrong header"),
    "rows swell": ({"Rows": 80}, "Rows (80)"),
    "columns lie": ({"Columns": 29}, "Columns (29)"),
    "bits lie": ({"BitsAllocated": 16, "BitsStored": 12, "HighBit": 11}, "Bits Allocated (16)"),
    "frames in words": ({"NumberOfFrames": "1.5"}, "Number of Frames is no whole number"),
    "sign": ({"PixelRepresentation": 7}, "Pixel Representation"),
    "slope of nothing": ({"RescaleSlope": 0, "RescaleIntercept": 9}, "Rescale Slope"),
    "slope in words": ({"RescaleSlope": "1e999"}, "Rescale Slope"),
    "modality table": ({"ModalityLUTSequence": sequence(LUTDescriptor=[99, 0, 16],
                        LUTData=bytes(4))}, "Modality LUT Sequence"),
    "thoracic spine": ({"BodyPartExamined": "THORACIC SPINE"}, "body part"),
    "window beside": ({"WindowCenter": 5000, "WindowWidth": 20}, "no X-ray in it"),
    "table beside": ({"VOILUTSequence": sequence(LUTDescriptor=[3, 900, 16],
                      LUTData=b"\1\0\2\0\3\0")}, "no X-ray in it"),
    "shifted": ({"HighBit": 6}, "High Bit"),
    "no rows": ({"Rows": 0}, "pixels are none"),
    "too many rows": ({"Rows": 41}, "cut short"),
    "no number": ({"RescaleSlope": "nan", "RescaleIntercept": 0}, "broken"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_the_header_states_is_believed(grey, kind):
    tags, reason = REFUSED[kind]
    assert reason in refused(as_bytes(radiograph(grey, **tags)))


@pytest.mark.parametrize("name", ["test-SR", "rtplan", "reportsi", "waveform_ecg", "UN_sequence"])
def test_what_is_no_image_is_refused(name):
    path = get_testdata_file(f"{name}.dcm", download=False)
    assert "no pixel data" in refused(open(path, "rb").read())  # noqa: PTH123, SIM115


def test_a_file_cut_anywhere_is_refused(grey):
    whole = as_bytes(radiograph(grey, ViewPosition="PA", BodyPartExamined="CHEST"))
    for length in range(1, len(whole) - 1, 7):
        refused(whole[:length])


def test_a_compressed_file_cut_anywhere_is_refused_or_whole(grey):
    frame = encoded(grey, "JPEG2000")
    whole = as_bytes(radiograph(grey, syntax=JPEG2000Lossless, frame=frame))
    for length in range(140, len(whole) - 16, 97):
        refused(whole[:length])


def lying(data, keyword_bytes, length):
    """Return a file whose element states another length."""
    at = data.index(keyword_bytes)
    return data[: at + 8] + struct.pack("<I", length) + data[at + 12 :]


@pytest.mark.parametrize("length", [0, 1, 599, 1202, 2**31, 2**32 - 2])
def test_a_lying_length_is_refused(grey, length):
    data = as_bytes(radiograph(grey))
    pixel_data = b"\xe0\x7f\x10\x00OW\x00\x00"
    assert lying(data, pixel_data, 1200) == data
    refused(lying(data, pixel_data, length))


def test_too_many_pixels_are_refused_before_anything_is_allocated(grey):
    data = as_bytes(radiograph(grey, Rows=32768, Columns=65535))
    tracemalloc.start()
    message = refused(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "65535 x 32768" in message
    assert peak < 10_000_000


def test_a_codestream_of_another_size_is_refused(grey):
    frame = bytearray(encoded(grey, "JPEG2000"))
    size = frame.index(b"\xff\x51") + 6
    assert struct.unpack_from(">2I", frame, size) == (30, 40)
    struct.pack_into(">2I", frame, size, 60_000, 60_000)
    lie = radiograph(grey, syntax=JPEG2000Lossless, frame=bytes(frame))
    assert "another size" in refused(as_bytes(lie))
    frame = encoded(np.zeros((400, 300), np.uint8), "JPEG")
    assert "another size" in refused(
        as_bytes(radiograph(grey, syntax=JPEGBaseline8Bit, frame=frame))
    )


def test_a_picture_that_makes_gdcm_abort_is_refused(grey):
    """One byte of its JFIF header makes GDCM 3.2.6 end its process."""
    pytest.importorskip("gdcm")
    frame = encoded(grey, "JPEG").replace(b"JFIF\0\x01", b"JFIF\0\x8b")
    refused(as_bytes(radiograph(grey, syntax=JPEGLosslessSV1, frame=frame)))
    baseline = radiograph(grey, syntax=JPEGBaseline8Bit, frame=frame)
    assert decode_image(as_bytes(baseline), "x").shape == grey.shape  # Pillow comes first


def test_a_broken_jp2_header_does_not_matter(grey):
    frame = bytearray(encoded(grey, "JPEG2000"))
    box = frame.index(b"jp2h") - 4
    frame[box : box + 4] = bytes(4)  # a box without length, on which a search can hang
    data = as_bytes(radiograph(grey, syntax=JPEG2000Lossless, frame=bytes(frame)))
    assert np.array_equal(decode_image(data, "x"), grey)


def test_bombs_are_refused(grey):
    run = struct.pack("<16I", 1, 64, *[0] * 14) + b"\x81\x00" * 100_000  # 128 bytes from 2
    bomb = radiograph(grey, syntax=RLELossless, frame=run)
    assert "another size" in refused(as_bytes(bomb))
    deflated = as_bytes(radiograph(grey, syntax=DeflatedExplicitVRLittleEndian))
    # The group of the meta information says how long it is.
    start = 144 + struct.unpack_from("<I", deflated, 140)[0]
    squeeze = zlib.compressobj(9, wbits=-15)
    zeros = squeeze.compress(bytes(20_000_000)) + squeeze.flush()
    tracemalloc.start()
    message = refused(deflated[:start] + zeros, max_pixels=100_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "too large" in message
    assert peak < 5_000_000


def test_sequences_without_end_are_refused(grey):
    deep = Dataset()
    for _ in range(60):
        deeper = Dataset()
        deeper.ReferencedStudySequence = Sequence([deep])
        deep = deeper
    dataset = radiograph(grey)
    dataset.ReferencedStudySequence = Sequence([deep])
    assert np.array_equal(decode_image(as_bytes(dataset), "x"), grey)
    opening = b"\x08\x00\x10\x11SQ\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    data = as_bytes(radiograph(grey))
    start = data.index(b"\x08\x00\x16\x00UI")
    refused(data[:start] + opening * 20_000 + data[start:])


TEXT_TAGS = ("Modality", "BodyPartExamined", "ViewPosition", "PatientOrientation", "VOILUTFunction",
             "PhotometricInterpretation", "SOPClassUID", "PresentationIntentType", "RescaleSlope",
             "WindowCenter", "NumberOfFrames", "BurnedInAnnotation")  # fmt: skip


@pytest.mark.parametrize("tag", TEXT_TAGS)
def test_no_message_says_who_the_patient_is(grey, caplog, capfd, tag):
    dataset = planted(radiograph(grey, BodyPartExamined="CHEST", ViewPosition="PA", WindowWidth=9,
                                 WindowCenter=9, RescaleSlope=1, RescaleIntercept=0,
                                 PatientOrientation="L", PresentationIntentType="X",
                                 BurnedInAnnotation="NO", NumberOfFrames=1,
                                 VOILUTFunction="LINEAR"))  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = as_bytes(dataset)
        decode_image(data, "x.dcm")
        at = data.index(struct.pack("<HH", *divmod(Tag(tag), 1 << 16)))
        length = len(PATIENT[0])
        changed = (
            data[: at + 6]
            + struct.pack("<H", length)
            + PATIENT[0].encode()
            + data[at + 8 + struct.unpack_from("<H", data, at + 6)[0] :]
        )
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        message = ""
        try:
            decode_image(changed, "x.dcm")
        except DataError as error:
            message = str(error)
    assert hides_the_patient(message)
    assert not warned
    assert hides_the_patient(caplog.text)
    captured = capfd.readouterr()
    assert hides_the_patient(captured.out + captured.err)


def test_no_tag_that_names_the_patient_is_read():
    for name in TAGS:
        assert not name.startswith(("PatientN", "PatientI", "PatientB", "Referring", "Institution"))
