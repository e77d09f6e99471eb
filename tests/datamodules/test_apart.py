"""Decoding in another process: the same picture, the same refusals, and nothing else breaks."""

import os
import struct
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydicom.uid import RLELossless

from tests.datamodules.radiographs import as_bytes, radiograph
from xrj.datamodules import apart, images
from xrj.datamodules.apart import DecoderError, decode_apart
from xrj.datamodules.decoding import decode_image
from xrj.errors import DataError


@pytest.fixture
def grey():
    return np.random.default_rng(0).integers(0, 256, (40, 30), dtype=np.uint8)


def refused(data, max_pixels=10_000):
    with pytest.raises(DataError) as caught:
        decode_apart(data, "ümlaut & 'x'.png", max_pixels)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_it_is_the_same_picture(grey):
    for data in (cv2.imencode(".png", grey)[1].tobytes(), as_bytes(radiograph(grey))):
        assert np.array_equal(decode_apart(data, "x", 10_000), decode_image(data, "x"))


def test_it_is_the_same_refusal(grey):
    png = cv2.imencode(".png", grey)[1].tobytes()
    lateral = as_bytes(radiograph(grey, ViewPosition="LL"))
    for data in (b"", b"text", png[:200], lateral):
        with pytest.raises(DataError) as here:
            decode_image(data, "ümlaut & 'x'.png")
        assert refused(data) == str(here.value)
    assert "more than 100" in refused(png, max_pixels=100)


def test_what_swells_is_refused():
    """Run-length codes of 30 MB that stand for 1.9 GB, more than the process may have."""
    run = struct.pack("<16I", 1, 64, *[0] * 14) + b"\x81\x00" * 15_000_000
    bomb = radiograph(np.zeros((3000, 3000), np.uint8), syntax=RLELossless, frame=run)
    assert "broken" in refused(as_bytes(bomb), max_pixels=9_000_000)


def test_what_crashes_or_lasts_is_refused(monkeypatch, grey):
    data = as_bytes(radiograph(grey))
    monkeypatch.setattr(apart, "SECONDS", 0.001)
    assert "takes too long" in refused(data)
    monkeypatch.undo()
    ready = [sys.executable, "-c", "import os; os.write(1, b'\\x06'); os.abort()"]
    run = subprocess.run
    monkeypatch.setattr(apart.subprocess, "run", lambda _command, **options: run(ready, **options))
    assert "breaks the decoder" in refused(data)


@pytest.mark.parametrize("program", ["/bin/false", "/no/such/python"])
def test_a_process_that_does_not_start_is_not_the_files_fault(monkeypatch, grey, program):
    monkeypatch.setattr(apart.sys, "executable", program)
    with pytest.raises(DecoderError, match=rf"^x: .*does not start \(.*\); check that {program}"):
        decode_apart(as_bytes(radiograph(grey)), "x", 10_000)


def test_it_says_which_module_it_does_not_find(monkeypatch, grey):
    monkeypatch.setattr(apart.sys, "path", [])
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    with pytest.raises(DecoderError, match=r"does not start \(.*(encodings|platform).*\)"):
        decode_apart(as_bytes(radiograph(grey)), "x", 10_000)


def test_it_finds_what_this_process_finds_and_gets_no_secrets(monkeypatch, tmp_path):
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/modules/lib")
    monkeypatch.setenv("PYTHONPATH", "/set/anew")
    monkeypatch.setenv("PYTHONINSPECT", "1")
    monkeypatch.syspath_prepend(tmp_path)
    given = apart._environment()
    assert given["LD_LIBRARY_PATH"] == "/opt/modules/lib"
    assert given["PYTHONPATH"].split(os.pathsep)[0] == str(tmp_path)
    assert not {"WANDB_API_KEY", "PYTHONINSPECT"} & set(given)


def test_packages_that_come_by_pythonpath_alone_are_found(tmp_path, grey):
    """As from a module system: an interpreter without any, and a folder with all of them."""
    bare = (
        Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    )
    if not bare.exists():
        pytest.skip("this interpreter lies elsewhere")
    (tmp_path / "a.dcm").write_bytes(as_bytes(radiograph(grey)))
    code = (
        "import sys; from pathlib import Path; from xrj.datamodules.apart import decode_apart; "
        "print(decode_apart(Path(sys.argv[1]).read_bytes(), 'x', 10_000).sum())"
    )
    paths = [str(Path(apart.__file__).parents[2]), str(Path(np.__file__).parents[1])]
    done = subprocess.run(
        [str(bare), "-S", "-c", code, str(tmp_path / "a.dcm")],
        env={"PYTHONPATH": os.pathsep.join(paths)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.stdout.strip(), done.stderr) == (str(grey.sum()), "")


def test_a_lower_limit_on_memory_stays(grey):
    code = (
        "import resource, sys; from xrj.datamodules import apart; "
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 31, 1 << 31)); apart._limit(64_000_000); "
        "print(resource.getrlimit(resource.RLIMIT_AS)[1])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == 1 << 31


def test_doubts_come_back(grey):
    data = as_bytes(radiograph(grey, BodyPartExamined="XYZ"))
    doubts = []
    decode_apart(data, "x", 10_000, warn=doubts.append)
    assert ["Body Part Examined" in doubt for doubt in doubts] == [True]


def test_a_file_that_is_too_large_is_not_even_read(monkeypatch, tmp_path, grey):
    cv2.imwrite(str(tmp_path / "a.png"), grey)
    monkeypatch.setattr(images, "MAX_BYTES", 100)
    with pytest.raises(DataError, match=r"a\.png: .* bytes are more than 100; make it smaller"):
        images.read_image(tmp_path / "a.png")
