"""A chain's nets without xrj: the same numbers, and a caption by onnxruntime alone."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import xrj
from tests.commands import call_infer
from tests.test_packed import CARD
from xrj import portable
from xrj.errors import ConfigError
from xrj.justify.reading import as_images

pytest.importorskip("onnxruntime")
ROOT = Path(__file__).parents[1]
NETS = ("diagnosis", "decoder", "stage1", "stage2")


@pytest.fixture(scope="module")
def said(chain_runs, tmp_path_factory):
    """Export once; return the folder and what was printed."""
    folder = tmp_path_factory.mktemp("portable")
    given = ["task=export", f"out={folder}/model", "name=tiny", f"runs={chain_runs}", *CARD]
    code = "from xrj.cli import infer; infer()"
    done = subprocess.run(
        [sys.executable, "-c", code, *given, "formats=[onnx,torch]"],
        cwd=folder, capture_output=True, text=True, check=True, env={"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    return folder / "model", done


def test_every_net_is_written_checked_and_timed(said):
    folder, done = said
    assert {path.name for path in folder.glob("*.onnx")} == {f"{name}.onnx" for name in NETS}
    assert {path.name for path in folder.glob("*.pt2")} == {f"{name}.pt2" for name in NETS}
    lines = done.stdout.splitlines()
    assert len(lines) == 1 + 2 * len(NETS)
    for name in NETS:
        (line,) = (line for line in lines if f"{name}.onnx" in line)
        found = re.search(r": differs from torch by (\S+); \d+\.\d\d ms, torch \d+\.\d\d ms", line)
        assert float(found[1]) <= 1e-4
    assert done.stderr == ""


def test_onnxruntime_alone_says_what_xrj_says(said):
    folder, _ = said
    text = (ROOT / "docs" / "export.md").read_text()
    snippet = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[-1]
    model = xrj.load(folder, beams=1, device="cpu")
    pictures = np.random.default_rng(1).integers(0, 256, (100, 16, 16), dtype=np.uint8)
    images = as_images(model.inner, list(pictures)).numpy()
    np.save(folder / "images.npy", images)
    code = (
        f"{snippet}\nimport sys\nfor image in np.load('images.npy'):\n"
        "    print(describe('.', image[None]))\nassert 'torch' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    theirs = [eval(line) for line in done.stdout.splitlines()]  # noqa: S307  # our own tuples
    ours = list(model.diagnose(list(pictures)))
    assert [one.diagnosis for one in ours] == [diagnosis for diagnosis, _, _ in theirs]
    # An untrained net's words are as good as tied here and there.
    alike = [one.caption == caption for one, (_, _, caption) in zip(ours, theirs, strict=True)]
    assert sum(alike) >= 95
    certainties = [one.certainty[one.diagnosis] for one in ours]
    assert certainties == pytest.approx([certainty for _, certainty, _ in theirs], abs=1e-4)


def test_torchs_own_programs_take_any_number_of_rows(said):
    folder, _ = said
    model = xrj.load(folder, device="cpu").inner
    r = torch.randn(7, model.representation.size)
    program = torch.export.load(folder / "stage1.pt2").module()
    assert torch.allclose(program(r), model.generate(r), atol=1e-5)


def test_an_onnx_that_computes_otherwise_is_refused(said, tmp_path, monkeypatch):
    folder = shutil.copytree(said[0], tmp_path / "copy")
    monkeypatch.setattr(portable, "LARGEST", -1.0)
    model = xrj.load(folder, device="cpu").inner
    part = portable._parts(model, portable.CHECKED)[2]
    with pytest.raises(ConfigError, match=r"stage1\.onnx: computes otherwise than torch, by "):
        portable._compared(folder / "stage1.onnx", part)


def test_a_format_that_there_is_not(chain_runs, tmp_path, monkeypatch, capsys):
    given = ["task=export", "out=x", "name=tiny", f"runs={chain_runs}", *CARD, "formats=[tflite]"]
    status, _, err = call_infer(monkeypatch, capsys, tmp_path, given)
    assert status == 2
    assert len(err) == 1
    assert "formats" in err[0]
    assert "onnx" in err[0]
