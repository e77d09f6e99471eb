import subprocess
import sys

import numpy as np
import pytest

from xrj.datamodules.transforms import Augmentation
from xrj.errors import ConfigError


def named(name, **arguments):
    return {"_target_": f"albumentations.{name}", **arguments}


NOISE = {"_target_": "albumentations.GaussNoise", "p": 0.5}
SHRINK = named("RandomScale", scale_limit=[-0.15, -0.15], p=1.0)
CROP = {"_target_": "albumentations.RandomCrop", "height": 18, "width": 18}


@pytest.fixture
def ramp():
    """Every pixel tells where it was."""
    return (np.arange(20)[:, None] * 10 + np.arange(20)).astype(np.uint8)


def offsets(crops):
    return {(int(crop[0, 0]) // 10, int(crop[0, 0]) % 10) for crop in crops}


def test_crops_reach_every_offset_and_never_mirror(ramp):
    crops = [Augmentation([], 20, 16)(ramp, seed) for seed in range(400)]
    assert offsets(crops) == {(y, x) for y in range(5) for x in range(5)}
    for crop in crops:
        assert np.array_equal(crop - crop[0, 0], ramp[:16, :16])


def test_a_seed_gives_one_crop_whatever_came_before(ramp):
    augmentation = Augmentation([], 20, 16)
    first = augmentation(ramp, 5)
    for seed in range(20):
        augmentation(ramp, seed)
    assert np.array_equal(augmentation(ramp, 5), first)
    assert np.array_equal(Augmentation([], 20, 16)(ramp, 5), first)


def test_every_random_transform_of_the_list_follows_the_seed(ramp):
    augmentation = Augmentation([NOISE, CROP], 20, 16)
    first = [augmentation(ramp, seed) for seed in range(10)]
    again = [augmentation(ramp, seed) for seed in reversed(range(10))][::-1]
    assert np.array_equal(first, again)
    assert len({crop.tobytes() for crop in first}) > 5


@pytest.mark.parametrize(
    ("transforms", "said"),
    [
        ([{"_target_": "os.system", "command": "true"}], "no transform"),
        ([{"_target_": "albumentations.Compose", "transforms": []}], "no transform"),
        ([{"_target_": "albumentations.NoSuchThing"}], "no transform"),
        ([{"height": 16, "width": 16}], "no transform"),
        ([{**CROP, "heigth": 16}], "refuses its arguments.*heigth"),
        ([{**CROP, "height": "tall"}], "refuses its arguments.*integer"),
        ([{**CROP, "height": 30}], "exceeds"),
        ([{**CROP, "height": 12}], "exceeds 12"),
        ([named("Resize", height=40, width=40)], "40 x 40 pixels.*between 16 and 20"),
        ([SHRINK] * 2, "follow one another.*exceeds"),
        ([named("Normalize", mean=0.5, std=0.25)], "yields float32 instead of uint8"),
        ([named("ToFloat")], "yields float32 instead of uint8"),
        ([named("ToTensorV2")], "yields Tensor instead of uint8"),
        ([named("ToRGB")], r"\(20, 20, 3\) instead of one grey channel"),
        ([named("RandomRain")], "cannot be used on grey X-rays"),
        ([named("FDA")], "cannot be used on grey X-rays"),
        ([named("MedianBlur", limit=3)], "refuses its arguments.*limit"),
        ([named("MultiplicativeNoise", multiplier=[0.001, 0.01])], "next to nothing"),
        ([named("OneOf", transforms=[named("Blur"), named("ToFloat")])], "ToFloat yields float32"),
    ],
)
def test_a_list_that_cannot_be_used_is_one_line(transforms, said):
    with pytest.raises(ConfigError, match=said) as caught:
        Augmentation(transforms, 20, 16, ["inverse.augmentations"] * len(transforms))
    assert str(caught.value).startswith("inverse.augmentations: ")
    assert "\n" not in str(caught.value)


FLIP = named("HorizontalFlip", p=0.01)


@pytest.mark.parametrize(
    "transform",
    [
        *map(named, ("HorizontalFlip", "VerticalFlip", "Transpose", "D4", "SquareSymmetry")),
        *map(named, ("TimeReverse", "RandomGridShuffle")),
        named("Affine", scale={"x": [-1, -1], "y": [1, 1]}),
        named("OneOf", transforms=[named("Blur"), FLIP]),
        named("OneOrOther", first=named("Blur"), second=FLIP),
        named("Compose", transforms=[named("SomeOf", n=1, transforms=[named("Blur"), FLIP])]),
    ],
    ids=str,
)
@pytest.mark.parametrize("size", [17, 70])
def test_what_mirrors_is_refused_by_its_effect(transform, size):
    with pytest.raises(ConfigError, match="would mirror the heart"):
        Augmentation([transform], size, size - 1)


@pytest.mark.parametrize(
    "transform",
    [
        *map(named, ("MedianBlur", "RandomRotate90", "ToSepia", "Lambda", "NoOp")),  # no `strict`
        *map(named, ("InvertImg", "Solarize", "Equalize", "CLAHE", "ShotNoise", "GlassBlur")),
        named("Rotate", limit=180),
        named("Affine", shear=[-30, 30], scale=[0.7, 1.3], translate_percent=[-0.3, 0.3]),
        named("GaussNoise", std_range=[0.3, 0.5]),
        named("CoarseDropout", hole_height_range=[0.8, 0.9], hole_width_range=[0.3, 0.5]),
        named("RandomCrop", height=16, width=16),
        named("OneOf", transforms=[named("Blur"), named("GaussNoise", p=0.1)]),
    ],
    ids=str,
)
def test_what_leaves_a_grey_chest_is_taken(transform, ramp):
    augmentation = Augmentation([transform], 20, 16)
    made = [augmentation(ramp, seed) for seed in range(4)]
    assert {(picture.shape, picture.dtype) for picture in made} == {((16, 16), np.dtype(np.uint8))}
    assert np.array_equal(made[::-1], [augmentation(ramp, seed) for seed in reversed(range(4))])


def test_each_setting_of_augmentations_is_named():
    good, bad = named("Blur"), named("ToFloat")
    with pytest.raises(ConfigError, match=r"^classifier\.augmentations: albumentations\.ToFloat"):
        Augmentation([good, bad], 20, 16, ["data.augmentations", "classifier.augmentations"])


def test_importing_calls_nobody():
    """albumentations asks PyPI for its newest version at import unless told not to."""
    code = (
        "import socket\n"
        "def refuse(*_): raise SystemExit('a connection was tried')\n"
        "socket.socket.connect = refuse\n"
        "import xrj.datamodules.transforms\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
