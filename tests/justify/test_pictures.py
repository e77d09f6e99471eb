"""Difference maps and PNG files."""

import io

import numpy as np
from PIL import Image

from xrj.justify.pictures import (
    BASE,
    BRIGHTER,
    DARKER,
    LEAST_LIMIT,
    data_uri,
    difference_map,
    png,
)


def grey(value=100):
    return np.full((40, 40), value, dtype=np.uint8)


def test_no_change_shows_the_dimmed_xray_alone():
    found = difference_map(grey(), grey())
    assert found.limit == LEAST_LIMIT
    assert (found.picture == round(100 * BASE)).all()


def test_brighter_is_orange_and_darker_is_blue():
    alternative = grey()
    alternative[:10], alternative[-10:] = 180, 20
    found = difference_map(grey(), alternative)
    assert found.limit == 80
    assert tuple(found.picture[0, 0]) == BRIGHTER
    assert tuple(found.picture[-1, 0]) == DARKER
    assert (found.picture[20] == round(100 * BASE)).all()


def test_colour_is_proportional_to_the_change():
    alternative = grey()
    alternative[:10], alternative[20:30] = 180, 140
    found = difference_map(grey(), alternative)
    half = [round((100 * BASE + colour) / 2) for colour in BRIGHTER]
    assert np.allclose(found.picture[25, 0], half, atol=1)


def test_dark_on_bright_does_not_wrap_around():
    found = difference_map(grey(250), grey(5))
    assert found.limit == 248
    assert np.allclose(found.picture[0, 0], DARKER, atol=4)


def test_a_few_pixels_do_not_set_the_scale():
    alternative = grey()
    alternative[0, 0] = 255
    assert difference_map(grey(), alternative).limit == LEAST_LIMIT


def test_png_keeps_pixels_and_description():
    picture = np.arange(1600, dtype=np.uint32).reshape(40, 40).astype(np.uint8)
    with Image.open(io.BytesIO(png(picture, "what – it shows"))) as image:
        assert image.mode == "L"
        assert image.text["Description"] == "what – it shows"
        assert np.array_equal(np.asarray(image), picture)
    with Image.open(io.BytesIO(png(np.stack([picture] * 3, axis=2), ""))) as image:
        assert image.mode == "RGB"


def test_a_data_uri_needs_no_file():
    assert data_uri(b"\x89PNG") == "data:image/png;base64,iVBORw=="
