import struct
import warnings
import zlib

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from xrj.datamodules.images import margin_size, prepare, read_image, resize, to_tensor
from xrj.errors import DataError


@pytest.fixture
def grey():
    return np.random.default_rng(0).integers(0, 256, (40, 30), dtype=np.uint8)


def save(path, array, mode=None, **options):
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_grey_png_is_read_as_it_is(tmp_path, grey):
    read = read_image(save(tmp_path / "a.png", grey))
    assert read.dtype == np.uint8
    assert np.array_equal(read, grey)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_grey_stored_as_colour_or_with_opaque_alpha_is_the_same(tmp_path, grey, mode):
    assert np.array_equal(read_image(save(tmp_path / "a.png", grey, mode)), grey)


def test_colour_becomes_luma(tmp_path):
    green = np.zeros((8, 8, 3), np.uint8)
    green[:4, :, 1] = 255
    read = read_image(save(tmp_path / "a.png", green))
    assert np.all(read[:4] == 150)  # 0.587 x 255
    assert not read[4:].any()


def test_transparent_pixels_are_black(tmp_path, grey):
    rgba = np.dstack([grey, grey, grey, np.full_like(grey, 255)])
    rgba[:10, :, 3] = 0
    rgba[10:20, :, 3] = 128
    read = read_image(save(tmp_path / "a.png", rgba))
    assert not read[:10].any()
    assert np.abs(read[10:20] - grey[10:20] * (128 / 255)).max() <= 1.5
    assert np.array_equal(read[20:], grey[20:])


def test_palette_is_resolved(tmp_path):
    image = Image.fromarray(np.eye(4, dtype=np.uint8), "P")
    image.putpalette([255, 255, 255, 10, 10, 10])
    image.save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png"), 255 - 245 * np.eye(4))


def test_sixteen_bits_are_stretched_from_their_own_range(tmp_path):
    values = np.linspace(100, 4000, 64).astype(np.uint16).reshape(8, 8)  # 12 bits in 16
    cv2.imwrite(str(tmp_path / "a.png"), values)
    read = read_image(tmp_path / "a.png")
    assert read.min() == 0
    assert read.max() == 255
    expected = (values.astype(float) - 100) / 3900 * 255
    assert np.abs(read - expected).max() <= 0.51


DEEP = np.linspace(500, 3900, 64 * 48).reshape(64, 48).round().astype(np.uint16)
OUTLIERS = {
    "nothing": DEEP,
    "a marker": np.pad(DEEP[4:], ((4, 0), (0, 0)), constant_values=65535),
    "a border of a third": np.pad(DEEP, 8, constant_values=65535),
    "a border of zeros below": np.pad(DEEP + np.uint16(30000), 8, constant_values=0),
    "broken pixels": np.where(np.random.default_rng(1).random(DEEP.shape) < 0.01,
                              np.random.default_rng(2).integers(9000, 65536, DEEP.shape), DEEP),
    "a softened marker": np.vstack([DEEP, np.linspace(3900, 65535, 48)[None]]),
}  # fmt: skip


@pytest.mark.parametrize("channels", ["I", "RGB", "RGBA", "LA"])
@pytest.mark.parametrize("kind", OUTLIERS)
def test_what_lies_far_off_does_not_darken_a_deep_picture(tmp_path, kind, channels):
    values = OUTLIERS[kind].astype(np.uint16)
    if channels == "LA":
        data = deep_grey_with_alpha(values)
    else:
        samples = values if channels == "I" else np.dstack([values] * 3)
        if channels == "RGBA":
            samples = np.dstack([samples, np.full_like(values, 65535)])
        data = cv2.imencode(".png", samples)[1].tobytes()
    (tmp_path / "a.png").write_bytes(data)
    read = read_image(tmp_path / "a.png")
    ground = 30000 if "below" in kind else 0
    xray = (values >= ground + 500) & (values <= ground + 3900)
    low, high = values[xray].min(), values[xray].max()
    assert np.abs(read - np.clip((values - float(low)) / (high - low), 0, 1) * 255).max() <= 0.51


def deep_grey_with_alpha(values):
    """Return a PNG of grey and alpha, 16 bits each, which no library here writes."""
    height, width = values.shape
    header = struct.pack(">IIBBBBB", width, height, 16, 4, 0, 0, 0)
    rows = np.dstack([values, np.full_like(values, 65535)]).astype(">u2").reshape(height, -1)
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


ALPHA = np.zeros((20, 20, 4), np.uint8)
ALPHA[..., :3] = np.arange(20, dtype=np.uint8)[:, None] * 12
NEARLY = np.zeros((100, 100), np.uint8)
NEARLY[50, :90] = 200
FLAT = {
    "black": np.zeros((20, 20), np.uint8),
    "white": np.full((20, 20), 255, np.uint8),
    "one pixel": np.full((1, 1), 90, np.uint8),
    "deep": np.full((20, 20), 700, np.uint16),
    "colour": np.full((20, 20, 3), (9, 80, 200), np.uint8),
    "an alpha of 0": ALPHA,
    "a scratch on black": NEARLY,
}


@pytest.mark.parametrize("kind", FLAT)
def test_one_grey_value_is_no_xray(tmp_path, kind):
    Image.fromarray(FLAT[kind]).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png: no X-ray in it"):
        read_image(tmp_path / "a.png")


def test_a_flat_jpeg_is_no_xray(tmp_path):
    with pytest.raises(DataError, match=r"a\.jpg: no X-ray in it"):
        read_image(save(tmp_path / "a.jpg", np.full((40, 40), 77, np.uint8)))


@pytest.mark.parametrize(("suffix", "dtype"), [("jpg", "u1"), ("png", "u1"), ("png", "u2")])
@pytest.mark.parametrize("orientation", range(10))
def test_a_picture_is_turned_as_it_says(tmp_path, suffix, dtype, orientation):
    array = np.add.outer(np.arange(32) * 5, np.arange(16) * 6).astype(dtype)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / f"a.{suffix}", array, exif=exif)
    grey = Image.fromarray(array.astype(np.uint8))
    grey.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(grey)).astype(float)
    if dtype == "u2":
        expected *= 255 / expected.max()
    assert np.abs(read_image(path) - expected).max() <= 4


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_turns_nothing(tmp_path, grey):
    save(tmp_path / "a.jpg", grey, exif=b"Exif\0\0MM\0*\0\0\xff\xff\x01\x12garbage")
    assert read_image(tmp_path / "a.jpg").shape == grey.shape


def test_cmyk_and_several_pictures_in_a_file(tmp_path, grey):
    smooth = np.add.outer(np.arange(64), np.arange(48)).astype(np.uint8) * 2
    Image.fromarray(smooth).convert("RGB").convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - smooth).max() <= 6
    second = [Image.fromarray(255 - smooth)]
    for name, kind in (("b.jpg", "MPO"), ("b.png", "PNG")):
        Image.fromarray(smooth).save(
            tmp_path / name, format=kind, save_all=True, append_images=second, quality=95
        )
        assert np.abs(read_image(tmp_path / name).astype(int) - smooth).max() <= 6


def interlaced(grey):
    height, width = grey.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 1)
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
              (1, 0, 2, 1)]  # fmt: skip
    parts = [grey[top::down, left::across] for top, left, down, across in passes]
    lines = b"".join(b"\0" + row.tobytes() for part in parts for row in part)
    chunks = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_an_interlaced_png_is_read(tmp_path, grey):
    (tmp_path / "a.png").write_bytes(interlaced(grey))
    assert np.array_equal(read_image(tmp_path / "a.png"), grey)


BIG = 3_000_000
METADATA = {
    "profile": chunk(b"iCCP", b"big\0\0" + zlib.compress(bytes(BIG))),
    "text": chunk(b"tEXt", b"Comment\0" + b"x" * BIG),
    "packed text": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"x" * BIG)),
    "XMP": chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b"x" * BIG),
    "many texts": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"x" * 999_999)) * 70,
    "EXIF": chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\0\0\0\0\0" + bytes(BIG)),
    "a broken profile": chunk(b"iCCP", b"big\0\0nothing packed"),
}


@pytest.mark.parametrize("kind", METADATA)
def test_metadata_of_any_size_are_passed_over(tmp_path, grey, kind):
    png = cv2.imencode(".png", grey)[1].tobytes()
    (tmp_path / "a.png").write_bytes(png[:33] + METADATA[kind] + png[33:])
    assert np.array_equal(read_image(tmp_path / "a.png"), grey)


def test_a_jpegs_metadata_of_any_size_are_passed_over(tmp_path, grey):
    save(tmp_path / "a.jpg", grey, icc_profile=bytes(BIG), quality=95)
    plain = read_image(save(tmp_path / "b.jpg", grey, quality=95))
    assert np.array_equal(read_image(tmp_path / "a.jpg"), plain)


@pytest.mark.parametrize("side", [8_001, 9_500, 13_400, 60_000])
def test_too_many_pixels_say_how_many(tmp_path, side):
    (tmp_path / "a.png").write_bytes(bomb(side))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataError, match=rf"a\.png: {side} x {side} pixels .*; make it smaller"):
            read_image(tmp_path / "a.png")


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
