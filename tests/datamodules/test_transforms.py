import subprocess
import sys

import numpy as np
import pytest

from xrj.datamodules.transforms import Augmentation
from xrj.errors import ConfigError

NOISE = {"_target_": "albumentations.GaussNoise", "p": 0.5}
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
        ([{"_target_": "albumentations.HorizontalFlip"}], "mirror"),
        ([{"_target_": "os.system", "command": "true"}], "no transform"),
        ([{"_target_": "albumentations.Compose", "transforms": []}], "no transform"),
        ([{"_target_": "albumentations.NoSuchThing"}], "no transform"),
        ([{"height": 16, "width": 16}], "no transform"),
        ([{**CROP, "heigth": 16}], "refuses its arguments.*heigth"),
        ([{**CROP, "height": "tall"}], "refuses its arguments.*integer"),
        ([{**CROP, "height": 30}], "exceeds"),
        ([{**CROP, "height": 12}], "exceeds"),
    ],
)
def test_a_list_that_cannot_be_used_is_one_line(transforms, said):
    with pytest.raises(ConfigError, match=said) as caught:
        Augmentation(transforms, 20, 16)
    assert "\n" not in str(caught.value)


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
