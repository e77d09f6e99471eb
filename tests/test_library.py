"""xrj in Python: three lines from a file to its justification."""

import ast
import dataclasses
import gc
import html
import inspect
import io
import json
import re
import shutil
import subprocess
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest
import torch
from hydra import compose, initialize_config_dir
from PIL import Image

import xrj
from tests.commands import call_infer
from tests.datamodules.radiographs import PATIENT, as_bytes, radiograph
from tests.justify.toy import Toy, picture
from tests.test_infer import QUICK, write_xray
from xrj.config import register
from xrj.library import SELECTION
from xrj.programs import CONF
from xrj.tasks import justify_settings

ROOT = Path(__file__).parents[1]
SETTINGS = xrj.JustifySettings(
    mapping=xrj.MappingSettings(tries=1, steps=2),
    refinement=xrj.RefinementSettings(steps=2),
    walk=3,
)


@pytest.fixture(scope="module")
def model(chain_runs):
    return xrj.load(chain_runs / "tiny", device="cpu")


@pytest.fixture(scope="module")
def grey():
    return np.random.default_rng(0).integers(0, 256, (70, 60), dtype=np.uint8)


# The package


def test_importing_it_loads_next_to_nothing():
    code = "import sys, xrj; dir(xrj); xrj.ConfigError; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = {name.partition(".")[0] for name in result.stdout.split()}
    heavy = {"torch", "numpy", "hydra", "omegaconf", "pandas", "PIL", "pydicom", "cv2"}
    assert not loaded & heavy


def test_types_and_names_at_run_time_are_the_same():
    tree = ast.parse(Path(xrj.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    typed = {one.asname: f"{node.module}.{one.name}" for node in block.body for one in node.names}
    assert sorted(typed) == sorted(xrj.__all__)
    for name, path in typed.items():
        module, _, attribute = path.rpartition(".")
        found = getattr(sys.modules[module], attribute)
        assert getattr(xrj, name) is found or name == "justify"
        assert inspect.getdoc(found), name
    assert set(xrj.__all__) <= set(dir(xrj))
    with pytest.raises(AttributeError, match="module 'xrj' has no attribute 'laod'"):
        _ = xrj.laod


def test_settings_without_arguments_are_those_of_the_configuration():
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("infer")
    assert justify_settings(cfg) == xrj.JustifySettings()
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(xrj.load).parameters.items()
        if parameter.default is not parameter.empty
    }
    assert defaults.pop("selection") is None  # an exported model holds one, and a run has SELECTION
    assert cfg.selection == SELECTION
    assert defaults == {key: cfg[key] for key in ("beams", "device")}
    assert inspect.signature(xrj.Model.justify).parameters["seed"].default == cfg.seed


# Models


def test_a_model_is_found_by_its_name_and_by_its_folder(chain_runs, monkeypatch):
    monkeypatch.chdir(chain_runs.parent)
    for where in (
        "tiny",
        "runs/tiny",
        Path("runs/tiny"),
        chain_runs / "tiny",
        "./runs/../runs/tiny",
    ):
        found = xrj.load(where)
        assert found.card["name"] == "tiny"
        assert found.labels == ("normal", "cardiomegaly")
        assert repr(found) == "<Model tiny: normal, cardiomegaly>"
    monkeypatch.chdir(chain_runs / "tiny")
    assert xrj.load(".").card["name"] == "tiny"


def test_its_card_says_what_the_exports_record(model, chain_runs):
    card = model.card
    inverse = json.loads((chain_runs / "tiny/inverse/export/stage.json").read_text())
    assert card["stages"]["inverse"] == {
        "hash": inverse["hash"],
        **{
            key: inverse["selections"]["ours_label"][key] for key in ("epoch", "monitor", "metrics")
        },
    }
    assert set(card["stages"]) == {"arae", "gan1", "gan2", "inverse", "classifier"}
    assert card["labels"] == ["normal", "cardiomegaly"]
    assert card["sizes"] == [16, 64]
    assert card["data"] == inverse["data"]
    assert "not for clinical decisions" in card["intended_use"]
    json.dumps(card)


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("tniy", "tniy: neither a model's folder nor the name of a run in {}; did you mean tiny? "),
        ("runs", "runs: neither a model's folder nor the name of a run in {}; "),
        ("/dev", "/dev: neither a model's folder nor the name of a run in {}; "),
        ("half", "runs/half/gan1: stage 'gan1' has not finished there; run python train.py"),
    ],
)
def test_a_model_that_is_not_there(chain_runs, tmp_path, monkeypatch, where, said):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/tiny").symlink_to(chain_runs / "tiny")
    (tmp_path / "runs/half").mkdir()
    (tmp_path / "runs/half/arae").symlink_to(chain_runs / "tiny/arae")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(xrj.HandoverError) as caught:
        xrj.load(where)
    assert str(caught.value).startswith(said.format(tmp_path / "runs"))
    assert "\n" not in str(caught.value)
    assert where == "half" or str(caught.value).endswith(
        "there are: tiny, and starter comes with xrj"
    )


def test_weights_that_are_cut_short(chain_runs, tmp_path):
    shutil.copytree(chain_runs / "tiny", tmp_path / "cut")
    weights = tmp_path / "cut/gan2/export/best.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    with pytest.raises(xrj.HandoverError) as caught:
        xrj.load(tmp_path / "cut")
    assert str(caught.value).startswith(f"{weights}: missing or changed since it was written; ")
    assert "\n" not in str(caught.value)


def test_a_device_that_is_not_there(chain_runs):
    with pytest.raises(xrj.ConfigError, match="device=abacus: not usable here"):
        xrj.load(chain_runs / "tiny", device="abacus")


# X-rays


def png(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def test_whatever_an_xray_is_given_as_it_is_the_same(model, grey, tmp_path):
    file = tmp_path / "scan.png"
    file.write_bytes(png(Image.fromarray(grey)))
    dicom = radiograph(grey)
    sources = [
        *(str(file), file, file.read_bytes(), grey, grey / 255, (grey / 255).astype(np.float32)),
        *(grey[::-1][::-1], torch.from_numpy(grey), Image.open(file), Image.fromarray(grey)),
        *(dicom, pydicom.dcmread(io.BytesIO(as_bytes(dicom))), as_bytes(dicom)),
        xrj.XRay("mine", grey),
    ]
    assert all(np.array_equal(xrj.read(source).picture, grey) for source in sources)
    first, *others = model.diagnose(sources)
    assert all(one.caption == first.caption for one in others)
    named = [xrj.read(source).name for source in sources]
    assert named[0] == named[1] == str(file)
    assert named[-1] == "mine"
    assert all(re.fullmatch(r"xray-[0-9a-f]{12}", name) for name in named[2:-1])
    assert xrj.read(grey, "left").name == xrj.read(file, "left").name == "left"


def test_deep_values_are_stretched_as_those_of_files_are(grey, tmp_path):
    deep = grey.astype(np.uint16) * 16
    file = tmp_path / "deep.png"
    Image.fromarray(deep).save(file)
    of_file = xrj.read(file).picture
    for source in (deep, Image.open(file), Image.fromarray(deep)):
        assert np.array_equal(xrj.read(source).picture, of_file)


def test_a_picture_in_colour_is_read_as_its_file_is(grey, tmp_path):
    image = Image.fromarray(np.dstack([grey, grey.T[:1].repeat(70, 0)[:, :60], grey]))
    for mode in ("RGB", "RGBA", "P", "LA"):
        file = tmp_path / f"{mode}.png"
        image.convert(mode).save(file)
        assert np.array_equal(xrj.read(Image.open(file)).picture, xrj.read(file).picture)
    assert xrj.read(image.convert("CMYK")).picture.shape == (70, 60)
    turned = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(grey).save(turned, "PNG", exif=exif)
    assert np.array_equal(xrj.read(Image.open(turned)).picture, np.rot90(grey, -1))


def test_a_data_set_says_its_doubts_and_no_names(grey):
    dicom = radiograph(grey, PatientName=PATIENT[0], PatientID=PATIENT[1], BodyPartExamined="QQQ")
    xray = xrj.read(dicom)
    assert xray.doubts == xrj.read(as_bytes(dicom)).doubts != ()
    assert not any(one in f"{xray.name} {xray.doubts}" for one in PATIENT)
    same = xrj.read(radiograph(grey, BodyPartExamined="QQQ"))
    assert xray.name == same.name  # of what is seen alone
    with pytest.raises(xrj.DataError, match=r"data set: not whole|no pixel data in it"):
        xrj.read(pydicom.Dataset())
    lateral = radiograph(grey, ViewPosition="LL")
    with pytest.raises(xrj.DataError, match="a lateral view"):
        xrj.read(lateral)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (3, "int: is no X-ray; give a path, bytes, an array"),
        (None, "NoneType: is no X-ray"),
        (np.zeros((9, 9, 3), np.uint8), "uint8 of shape (9, 9, 3): an X-ray is grey, (H, W); take"),
        (np.zeros((5, 9, 9), np.uint8), "(5, 9, 9): an X-ray is grey, (H, W); give several as a"),
        (np.zeros((0, 9), np.uint8), "(0, 9): an X-ray is grey"),
        (np.arange(81).reshape(9, 9), "int64 of shape (9, 9): give uint8, uint16, or floating"),
        (np.eye(9, dtype=bool), "bool of shape (9, 9): give uint8"),
        (np.arange(81.0).reshape(9, 9), "values from 0 to 80; scale them to 0, black, to 1, white"),
        (np.eye(9) - 0.5, "values from -0.5 to 0.5; scale them"),
        (np.where(np.eye(9) > 0, np.nan, 0.5), "values from nan to nan; scale them"),
        (np.full((9, 9), 7, np.uint8), "no X-ray in it, one grey value fills the picture"),
        (b"", "xray-e3b0c44298fc: the file is empty"),
        (b"GIF89a", "neither PNG, JPEG nor DICOM"),
        ("nowhere.png", "nowhere.png: cannot be read (No such file or directory)"),
        (".", ".: is a folder; give its files, such as Path(...).glob('*.png')"),
    ],
    ids=str,
)
@pytest.mark.parametrize("work", ["diagnose", "justify"])
def test_what_is_no_xray_is_said_in_a_line(model, work, source, said):
    with pytest.raises(xrj.DataError) as caught:
        getattr(model, work)(source)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("work", ["diagnose", "justify"])
def test_many_come_one_after_the_other_and_few_are_held(model, grey, monkeypatch, work):
    read = []
    monkeypatch.setattr("xrj.justify.facade.BATCH", 2)

    def endless():
        while True:
            read.append(len(read))
            yield grey

    settings = dataclasses.replace(SETTINGS, batch=2, saliency=False)
    arguments = {"settings": settings} if work == "justify" else {}
    found = getattr(model, work)(endless(), **arguments)
    assert read == []
    next(found)
    assert len(read) == 2
    next(found)
    assert len(read) == 2
    next(found)
    assert len(read) == 4
    assert list(getattr(model, work)([])) == []


def test_what_was_handed_out_is_let_go(model, grey):
    settings = dataclasses.replace(SETTINGS, batch=2, saliency=False)
    seen = [weakref.ref(one) for one in model.justify([grey] * 7, settings)]
    gc.collect()
    assert len(seen) == 7
    assert not [one for one in seen if one() is not None]
    found = model.justify([grey] * 9, settings)
    held = [weakref.ref(next(found)) for _ in range(7)]
    gc.collect()
    assert len([one for one in held if one() is not None]) <= 2


def test_those_before_a_broken_one_come_out(model, grey):
    found = model.diagnose([grey, grey, "nowhere.png", grey])
    assert len([next(found), next(found)]) == 2
    with pytest.raises(xrj.DataError, match=r"nowhere\.png"):
        next(found)


# Justifications


def test_saved_it_is_what_infer_writes(model, chain_runs, tmp_path, monkeypatch, capsys):
    write_xray(tmp_path / "scan.png")
    given = ["image=scan.png", "out=theirs", "name=tiny", f"runs={chain_runs}", *QUICK]
    assert call_infer(monkeypatch, capsys, tmp_path, given)[0] == 0
    found = model.justify("scan.png", SETTINGS)
    page = found.save("ours/scan")
    assert page == Path("ours/scan/justification.html")
    theirs, ours = tmp_path / "theirs/scan", tmp_path / "ours/scan"
    assert sorted(p.name for p in ours.iterdir()) == sorted(p.name for p in theirs.iterdir())
    for path in ours.iterdir():
        if path.suffix in (".png", ".webp"):
            assert path.read_bytes() == (theirs / path.name).read_bytes(), path.name
    one, other = (
        re.sub(r'"seconds": [\d.e-]+', "", (folder / "justification.json").read_text())
        for folder in (ours, theirs)
    )
    assert one == other
    assert json.loads((ours / "justification.json").read_text()) == found.to_dict()
    found.save("ours/scan")  # again
    (tmp_path / "mine").mkdir()
    with pytest.raises(xrj.DataError, match="mine: exists and is no justification"):
        found.save("mine")


def test_a_notebook_shows_its_page(model, grey, tmp_path):
    found = model.justify(xrj.XRay('"><b>&amp;', grey), SETTINGS)
    shown = found._repr_html_()
    match = re.fullmatch(r'<iframe srcdoc="([^"<>]*)" title="([^"<>]*)" [^<>]*></iframe>', shown)
    assert html.unescape(match[1]) == found.save(tmp_path / "x").read_text()
    assert html.unescape(match[2]) == repr(found)
    assert 'sandbox="allow-scripts"' in shown


def test_it_names_its_diagnosis_its_alternative_and_its_pictures(model, grey):
    found = model.justify(grey, SETTINGS)
    assert {found.diagnosis, found.target} == set(model.labels)
    assert found.target == model.labels[found.mapping.target]
    assert repr(found).startswith(f"<Justification of {found.image}: {found.diagnosis} (")
    assert f"alternative {found.target}" in repr(found)
    assert {name: one.shape for name, one in found.pictures.items()} == {
        **dict.fromkeys(("xray", "alternative_on_xray"), (70, 60)),
        **dict.fromkeys(("original", "reconstruction", "alternative"), (64, 64)),
        "difference": (64, 64, 3),
    }
    assert {one.dtype for one in found.pictures.values()} == {np.dtype(np.uint8)}
    assert model.diagnose(grey).diagnosis == found.diagnosis


def test_doubts_and_calibration_are_part_of_it(chain_runs, grey, tmp_path, monkeypatch):
    model = xrj.load(chain_runs / "tiny")
    assert model.calibration is None
    report = {
        "model": {
            **model.card,
            "selection": "ours_label",
            "stages": model.inner.identity["stages"],
        },
        "measures": {"diagnosis": {"calibration_error": {"value": 0.034, "n": 108}}},
    }
    (tmp_path / "tiny").mkdir()
    for stage in (chain_runs / "tiny").iterdir():
        (tmp_path / "tiny" / stage.name).symlink_to(stage)
    (tmp_path / "tiny/report").mkdir()
    (tmp_path / "tiny/report/summary.json").write_text(json.dumps(report))
    measured = xrj.load(tmp_path / "tiny")
    found = measured.justify(xrj.XRay("x", grey, ("It is odd.",)), SETTINGS)
    assert found.calibration.error == 0.034
    assert found.to_dict()["doubts"] == ["It is odd."]
    assert "3.4 percentage points" in found.save(tmp_path / "out").read_text()


def test_an_alternative_that_the_model_does_not_know(model, grey):
    with pytest.raises(xrj.ConfigError, match="towards=fracture: no label of tiny; choose one of"):
        model.justify(grey, xrj.JustifySettings(towards="fracture"))
    with pytest.raises(xrj.ConfigError, match="towards=fracture"):
        model.justify([grey], xrj.JustifySettings(towards="fracture"))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"walk": 1}, "walk=1: must lie between 2 and 64"),
        ({"walk": 65}, "walk=65: must lie between 2 and 64"),
        ({"batch": 0}, "batch=0: must be at least 1"),
        ({"mapping": xrj.MappingSettings(tries=0)}, "tries=0: must be at least 1"),
    ],
)
def test_settings_out_of_range(wrong, said):
    with pytest.raises(xrj.ConfigError, match=said):
        xrj.JustifySettings(**wrong)


def test_an_xray_of_another_array(grey):
    for wrong in (grey / 255, np.dstack([grey] * 3), grey[:0]):
        with pytest.raises(xrj.DataError, match=r"bed 7: array .*; make it with xrj\.read"):
            xrj.XRay("bed 7", wrong)


# Models of one's own


def test_a_model_of_ones_own_needs_neither_files_nor_nets():
    found = xrj.justify(Toy(), picture(-0.3, -0.1, 0.2, 0.0, 0.1))
    assert (found.diagnosis, found.target) == ("left", "upper")
    assert xrj.Model(Toy()).card == {"name": "toy"}


def test_what_is_no_model_is_told_what_it_lacks(model, grey):
    with pytest.raises(xrj.ConfigError, match="SimpleNamespace: is no Justifiable, it lacks ident"):
        xrj.justify(SimpleNamespace(labels=("a", "b")), grey)
    with pytest.raises(xrj.ConfigError, match="Model: is no Justifiable"):
        xrj.justify(model, grey)
