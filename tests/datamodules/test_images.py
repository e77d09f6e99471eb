import struct
import zlib

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from xrj.datamodules.images import margin_size, prepare, read_image, resize, to_tensor
from xrj.errors import DataError


@pytest.fixture
def grey():
    return np.random.default_rng(0).integers(0, 256, (40, 30), dtype=np.uint8)


def save(path, array, mode=None, **options):
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def test_grey_png_is_read_as_it_is(tmp_path, grey):
    read = read_image(save(tmp_path / "a.png", grey))
    assert read.dtype == np.uint8
    assert np.array_equal(read, grey)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_grey_stored_as_colour_or_with_opaque_alpha_is_the_same(tmp_path, grey, mode):
    assert np.array_equal(read_image(save(tmp_path / "a.png", grey, mode)), grey)


def test_colour_becomes_luma(tmp_path):
    green = np.zeros((8, 8, 3), np.uint8)
    green[..., 1] = 255
    assert np.all(read_image(save(tmp_path / "a.png", green)) == 150)  # 0.587 x 255


def test_transparent_pixels_are_black(tmp_path, grey):
    rgba = np.dstack([grey, grey, grey, np.full_like(grey, 255)])
    rgba[:10, :, 3] = 0
    rgba[10:20, :, 3] = 128
    read = read_image(save(tmp_path / "a.png", rgba))
    assert not read[:10].any()
    assert np.abs(read[10:20] - grey[10:20] * (128 / 255)).max() <= 1.5
    assert np.array_equal(read[20:], grey[20:])


def test_palette_is_resolved(tmp_path):
    image = Image.new("P", (4, 4), 1)
    image.putpalette([255, 255, 255, 10, 10, 10])
    image.save(tmp_path / "a.png")
    assert np.all(read_image(tmp_path / "a.png") == 10)


def test_sixteen_bits_are_stretched_from_their_own_range(tmp_path):
    values = np.linspace(100, 4000, 64).astype(np.uint16).reshape(8, 8)  # 12 bits in 16
    cv2.imwrite(str(tmp_path / "a.png"), values)
    read = read_image(tmp_path / "a.png")
    assert read.min() == 0
    assert read.max() == 255
    expected = (values.astype(float) - 100) / 3900 * 255
    assert np.abs(read - expected).max() <= 0.51


def test_a_flat_sixteen_bit_image_is_black(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((8, 8), 700, np.uint16))
    assert not read_image(tmp_path / "a.png").any()


def test_jpeg_is_turned_as_it_says(tmp_path):
    array = np.zeros((16, 32), np.uint8)
    array[:, :16] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise: the left side comes up
    save(tmp_path / "a.jpg", array, exif=exif, quality=95)
    read = read_image(tmp_path / "a.jpg")
    assert read.shape == (32, 16)
    assert read[:14].min() > 200
    assert read[18:].max() < 50


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(side):
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def broken_files(grey):
    png = cv2.imencode(".png", grey)[1].tobytes()
    jpeg = cv2.imencode(".jpg", grey)[1].tobytes()
    middle = len(png) // 2
    return {
        "empty": b"",
        "text.png": b"<html>not an image</html>",
        "half.png": png[:middle],
        "without-end.png": png[:-10],
        "altered.png": png[:middle] + bytes([png[middle] ^ 255]) + png[middle + 1 :],
        "signature-only.png": png[:8],
        "half.jpg": jpeg[: len(jpeg) // 2],
        "bomb.png": bomb(9_000),
        "huge-bomb.png": bomb(60_000),
    }


NAMES = sorted(broken_files(np.zeros((40, 30), np.uint8)))


@pytest.mark.parametrize("name", NAMES)
def test_a_bad_file_is_one_line_that_names_it(tmp_path, grey, name):
    path = tmp_path / name
    path.write_bytes(broken_files(grey)[name])
    with pytest.raises(DataError) as caught:
        read_image(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_missing_files_folders_and_other_formats_are_refused(tmp_path, grey):
    Image.fromarray(grey).save(tmp_path / "a.gif")
    for path in (tmp_path / "none.png", tmp_path, tmp_path / "a.gif"):
        with pytest.raises(DataError, match=str(path)):
            read_image(path)


def test_margin_is_even_and_the_same_share_at_each_size():
    assert margin_size(64, 0.09) == 70
    assert margin_size(256, 0.09) == 280
    assert margin_size(64, 0.0) == 64


def test_shrinking_averages_and_keeps_the_size_when_it_fits(grey):
    checker = np.indices((64, 64)).sum(0).astype(np.uint8) % 2 * 200
    assert np.all(resize(checker, 32) == 100)
    assert resize(checker, 64) is checker
    assert resize(grey, 64).shape == (64, 64)


def test_the_evaluation_view_is_the_middle():
    image = np.zeros((80, 80), np.uint8)
    image[8:72, 8:72] = 255
    assert prepare(image, 64, 0.25).shape == (64, 64)
    assert prepare(image, 64, 0.25).min() == 255


def test_tensors_lie_in_minus_one_to_one():
    tensor = to_tensor(np.array([[[0, 255]]], np.uint8))
    assert tensor.shape == (1, 1, 1, 2)
    assert tensor.dtype == torch.float32
    assert tensor.flatten().tolist() == [-1.0, 1.0]
