"""`infer.py` as a person uses it: files in, folders and one-line errors out."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from tests.chains import CONF
from tests.commands import call_infer
from tests.datamodules.radiographs import PATIENT, as_bytes, radiograph
from tests.web.pages import xray
from xrj.config import register
from xrj.datamodules.decoding import anonymous_name
from xrj.errors import ConfigError
from xrj.files import sha256_json
from xrj.justify.intake import read_names
from xrj.tasks import run_task

ROOT = Path(__file__).parents[1]
QUICK = ["mapping.tries=1", "mapping.steps=2", "refinement.steps=2", "walk=3", "device=cpu"]
FILES = [
    *("alternative_16.png", "alternative_64.png", "alternative_on_xray.png"),
    *("difference.png", "difference_original.png"),
    *("justification.html", "justification.json", "one_shot_64.png", "original.png"),
    "reconstruction_16.png",
    *("reconstruction_64.png", "saliency_attention_abstract.webp"),
    *("saliency_attention_intermediate.webp", "saliency_gradcam.webp"),
    *("saliency_integrated_gradients.webp", "strip.webp", "walk.webp"),
]


@pytest.fixture
def run(chain_runs, tmp_path, monkeypatch, capsys):
    """Call infer.py in this process; return exit status, lines of stdout and of stderr."""

    def call(*arguments, name="tiny"):
        given = [*arguments, f"name={name}", f"runs={chain_runs}", *QUICK]
        return call_infer(monkeypatch, capsys, tmp_path, given)

    return call


def write_xray(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (70, 60), dtype=np.uint8)
    path.write_bytes(cv2.imencode(path.suffix.lower(), pixels)[1].tobytes())
    return path


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_one_xray_gets_its_folder(run, tmp_path):
    write_xray(tmp_path / "scan.png")
    status, out, err = run("image=scan.png", "out=results")
    assert (status, err) == (0, [])
    assert out[-1] == "results/scan/justification.html"
    assert files(tmp_path / "results") == ["scan"]
    assert files(tmp_path / "results" / "scan") == FILES
    record = json.loads((tmp_path / "results/scan/justification.json").read_text())
    assert record["image"] == "scan.png"
    assert record["reconstruction"] == {
        "16": "reconstruction_16.png",
        "64": "reconstruction_64.png",
    }
    assert record["alternative"]["xray"] == {"16": "alternative_16.png", "64": "alternative_64.png"}
    assert record["model"]["name"] == "tiny"
    assert files(tmp_path) == ["results", "scan.png"]  # nothing else is left behind


def test_a_folder_skips_and_lists_what_is_broken(run, tmp_path):
    write_xray(tmp_path / "in" / "a.png")
    write_xray(tmp_path / "in" / "b.JPG", seed=1)
    (tmp_path / "in" / "broken.jpeg").write_bytes(b"no picture")
    (tmp_path / "in" / "notes.txt").write_text("not an X-ray")
    status, out, err = run("image=in", "out=results")
    assert status == 0
    assert out[-1] == "results/index.html"
    assert files(tmp_path / "results") == ["a", "b", "index.html"]
    assert len(err) == 3
    assert "in/broken.jpeg: neither PNG, JPEG nor DICOM" in err[0]
    assert "1 of 3" in err[1]
    assert err[2] == "1 passed over, which hold no X-ray: notes.txt"
    page = (tmp_path / "results" / "index.html").read_text()
    assert "broken.jpeg" in page
    assert "a/justification.html" in page


def test_a_glob_names_equal_stems_apart(run, tmp_path):
    for place in ("one/x.png", "two/x.png", "two/X.jpg", "two/y.gif"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        if not place.endswith("gif"):
            write_xray(tmp_path / place)
    status, out, _ = run("image=*/*.[pj]*g", "out=results")
    assert status == 0
    assert files(tmp_path / "results") == ["X-2", "index.html", "x", "x-3"]
    assert [line.partition(":")[0] for line in out[:3]] == [
        "x.png",
        "X.jpg (in X-2)",
        "x.png (in x-3)",
    ]


@pytest.mark.parametrize(
    "name", ["a b, (c)=1.png", "it's [1].png", "ümlaut & <b>.png", "index.html.png"]
)
def test_any_file_name_works(run, tmp_path, name):
    write_xray(tmp_path / name)
    status, out, err = run(f"image={name}", "out=results, too")
    assert (status, err) == (0, [])
    page = Path(out[-1])
    assert page.name == "justification.html"
    assert (tmp_path / page).is_file()
    assert "<b>" not in (tmp_path / page).read_text()


def test_a_rerun_replaces_and_other_folders_are_left_alone(run, tmp_path):
    write_xray(tmp_path / "scan.png")
    assert run("image=scan.png", "out=results")[0] == 0
    (tmp_path / "results" / "scan" / "original.png").write_bytes(b"")
    assert run("image=scan.png", "out=results")[0] == 0
    assert (tmp_path / "results" / "scan" / "original.png").stat().st_size > 100
    (tmp_path / "mine" / "scan").mkdir(parents=True)
    (tmp_path / "mine" / "scan" / "thesis.txt").write_text("years of work")
    status, _, err = run("image=scan.png", "out=mine")
    assert status == 2
    assert len(err) == 1
    assert "mine/scan" in err[0]
    assert files(tmp_path / "mine" / "scan") == ["thesis.txt"]
    assert files(tmp_path / "mine") == ["scan"]


def corrupt(path, content):
    path.write_bytes(content)
    return path.name


def truncated(folder):
    path = write_xray(folder / "cut.png")
    return corrupt(path, path.read_bytes()[:200])


BAD = {
    "missing": (lambda folder: "nowhere.png", "nowhere.png"),
    "empty file": (lambda folder: corrupt(folder / "empty.png", b""), "empty.png"),
    "not an image": (lambda folder: corrupt(folder / "text.png", b"hello"), "text.png"),
    "truncated": (truncated, "cut.png"),
    "empty folder": (lambda folder: (folder / "none").mkdir() or "none", "none"),
    "no match": (lambda folder: "*.tiff", "*.tiff"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_one_line_and_status_2(run, tmp_path, kind):
    make, named = BAD[kind]
    status, out, err = run(f"image={make(tmp_path)}", "out=results")
    assert status == 2
    assert out == []
    assert len(err) == 1
    assert err[0].startswith("error: ")
    assert named in err[0]
    assert not (tmp_path / "results").exists()


def test_a_folder_of_broken_files_is_one_line(run, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.png"):
        corrupt(tmp_path / "in" / name, b"broken")
    status, _, err = run("image=in", "out=results")
    assert status == 2
    assert len(err) == 1
    assert "none of 2 files" in err[0]
    assert "in/a.png" in err[0]
    assert not (tmp_path / "results").exists()


def test_what_is_doubtful_is_told_everywhere(run, tmp_path):
    (tmp_path / "in").mkdir()
    write_xray(tmp_path / "in" / "scan.png")
    grey = np.random.default_rng(0).integers(0, 256, (70, 60), dtype=np.uint8)
    data = as_bytes(radiograph(grey, PatientName=PATIENT[0], BodyPartExamined="XYZ"))
    (tmp_path / "in" / "DOE_JANE.dcm").write_bytes(data)
    status, out, err = run("image=in", "out=results", "unexplained=0")
    name = anonymous_name(data)
    (warning,) = err
    assert warning.startswith(f"warning: {name}: Its Body Part Examined")
    doubt = warning.partition(f"{name}: ")[2]
    for file in ("scan", name):
        record = json.loads((tmp_path / f"results/{file}/justification.json").read_text())
        page = (tmp_path / f"results/{file}/justification.html").read_text()
        assert record["doubts"] == ([doubt] if file == name else [])
        assert (doubt in page) == (file == name)
    assert doubt in (tmp_path / "results/index.html").read_text()
    assert status == 0
    assert [line.count("NOT to be relied on: ") for line in out] == [1, 1, 0]


def test_an_image_that_is_missing_is_told_before_torch_loads(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "xrj.tasks", None)
    for missing in ("nowhere.png", "no/*.png", "x" * 300):
        status, _, err = run(f"image={missing}")
        assert (status, len(err)) == (2, 1)
        assert f"{missing}: no such file, folder or match; choose another image=" in err[0]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["image=scan.png", "mapping.optimizer=batch"], "did you mean batched?"),
        (["image=scan.png", "name=absent"], "stage=arae name=absent"),
        (["image=scan.png", "selection=best"], "ours_label, ours_caption"),
        (["image=scan.png", "device=warp"], "device=warp"),
        (["image=scan.png", "mapping=none"], "mapping"),
        (["image=scan.png", "mapping.tries=0"], "mapping.tries=0"),
        (["image=scan.png", "walk=1"], "walk=1: must lie between 2 and 64"),
        (["image=scan.png", "walk=65"], "walk=65: must lie between 2 and 64"),
        (["image=scan.png", "batch=0"], "batch=0"),
        (["image=scan.png", "unexplained=-1"], "unexplained=-1"),
        (["image=scan.png", "mapping.rate=fast"], "mapping.rate"),
        (["image=scan.png", "ctr_direction.normal=3"], "ctr_direction.normal=3"),
        (["task=evaluate", "towards=normal"], "towards=normal: task=evaluate takes none"),
        (["image=scan.png", "towards=fracture"], "towards=fracture: no label of"),
        (["image=scan.png", "imagine=1"], "imagine"),
        (["image=scan.png", "+mapping.typo=1"], "mapping.typo"),
        (["image=scan.png", "name=../x"], "name=../x"),
        (["task=paint"], "task=paint: unknown; choose one of justify"),
        ([], "image"),
    ],
)
def test_a_wrong_setting_is_one_line_and_status_2(run, tmp_path, monkeypatch, arguments, named):
    write_xray(tmp_path / "scan.png")
    kept = [
        quick for quick in QUICK if quick.split("=")[0] not in {a.split("=")[0] for a in arguments}
    ]
    monkeypatch.setitem(globals(), "QUICK", kept)
    name = next((a.split("=")[1] for a in arguments if a.startswith("name=")), "tiny")
    status, _, err = run(*(a for a in arguments if not a.startswith("name=")), name=name)
    assert status == 2
    assert len(err) == 1
    assert named in err[0]
    assert files(tmp_path) == ["scan.png"]


def test_a_changed_stage_is_refused(run, chain_runs, tmp_path):
    write_xray(tmp_path / "scan.png")
    shutil.copytree(chain_runs / "tiny", chain_runs / "changed", dirs_exist_ok=True)
    stage = chain_runs / "changed" / "gan2" / "export" / "stage.json"
    stage.write_text(stage.read_text().replace("stackgan", "paper"))
    status, _, err = run("image=scan.png", name="changed")
    assert status == 2
    assert len(err) == 1
    assert "gan2" in err[0]


def test_report_measures_and_shows(run, chain_runs, tmp_path):
    status, out, _ = run("task=report", "count=3", "mapped=4", "out=report")
    assert status == 0
    assert out[-1] == "report/index.html"
    summary = json.loads((tmp_path / "report" / "summary.json").read_text())
    assert summary["command"].startswith(
        "python infer.py task=report count=3 mapped=4 out=report name=tiny runs="
    )
    measured = summary["measures"]
    assert {part: len(figures) > 1 for part, figures in measured.items()} == dict.fromkeys(
        (
            *("diagnosis", "classifier", "captions", "refinement", "mapping", "validity"),
            *("words", "distance", "change", "ctr"),
        ),
        True,
    )
    assert measured["classifier"]["accuracy"]["n"] == 12
    assert measured["refinement"]["diagnosis_unchanged"]["value"] == 1
    assert measured["validity"]["independent"]["n"] == 4
    assert measured["diagnosis"]["accuracy"]["n"] == 12
    assert measured["mapping"]["success"]["n"] == 4
    assert measured["ctr"]["meter_error"]["n"] == 12
    assert measured["ctr"]["meter_error"]["value"] < 0.05
    assert summary["data"]["split"] == "test"
    assert summary["seed"] == 0
    folders = [path for path in (tmp_path / "report").iterdir() if path.is_dir()]
    assert len(folders) == 3
    assert any("Balanced accuracy" in line for line in out)
    record = json.loads((folders[0] / "justification.json").read_text())
    assert len(record["walk"]["certainty"]) == 3
    assert len(record["saliency"]) == 4
    page = (tmp_path / "report" / "index.html").read_text()
    assert "the true label is cardiomegaly" in page
    assert "Balanced accuracy" in page


def test_a_failed_check_is_on_record(run, tmp_path):
    """Noise is no X-ray: an untrained chain cannot redraw it, and says so."""
    write_xray(tmp_path / "scan.png")
    status, _, _ = run("image=scan.png", "out=results", "unexplained=0.01")
    assert status == 0
    record = json.loads((tmp_path / "results/scan/justification.json").read_text())
    warnings = record["evidence"]["warnings"]
    assert any("The reconstruction is far from the X-ray" in warning for warning in warnings)


def test_xrays_are_justified_batch_by_batch(run, tmp_path):
    for number in range(3):
        write_xray(tmp_path / "in" / f"{number}.png", seed=number)
    (tmp_path / "in" / "0.png").write_bytes(b"broken")
    status, out, err = run("image=in", "out=results", "batch=1")
    assert status == 0
    assert [line.split(":")[0] for line in out[:-1]] == ["1.png", "2.png"]
    assert files(tmp_path / "results") == ["1", "2", "index.html"]
    assert "1 of 3" in err[-1]


def test_a_report_calibrates_what_follows(run, chain_runs, tmp_path):
    write_xray(tmp_path / "scan.png")
    shutil.copytree(chain_runs / "tiny", chain_runs / "calibrated")
    for words in ("was not measured", "were measured on 12 test X-rays"):
        assert run("image=scan.png", "out=results", name="calibrated")[0] == 0
        assert words in (tmp_path / "results/scan/justification.html").read_text()
        if words.startswith("was"):
            assert run("task=report", "count=1", "mapped=1", name="calibrated")[0] == 0


def test_report_refuses_other_data(run, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("no phantom")
    status, _, err = run("task=report", "data.root=other", "out=report")
    assert status == 2
    assert len(err) == 1
    assert "other" in err[0]
    assert not (tmp_path / "report").exists()


def test_report_refuses_another_split(run, chain_runs, tmp_path):
    """The recorded settings draw another split than the one that the stages were trained on."""
    shutil.copytree(chain_runs / "tiny", chain_runs / "resplit", dirs_exist_ok=True)
    parents = {}
    for stage in ("arae", "gan1", "gan2", "inverse"):
        path = chain_runs / "resplit" / stage / "export" / "stage.json"
        info = json.loads(path.read_text())
        del info["hash"]
        info["data"]["split"]["seed"] = 5
        info["parents"] = {parent: parents[parent] for parent in info["parents"]}
        parents[stage] = sha256_json(info)
        path.write_text(json.dumps(info | {"hash": parents[stage]}))
    status, _, err = run("task=report", "out=report", name="resplit")
    assert status == 2
    err = [line for line in err if "caching" not in line]
    assert len(err) == 1
    assert "another" in err[0]


def test_interpolate_prints_walks_and_writes_them_where_out_says(run, tmp_path):
    status, out, _ = run("task=interpolate", "count=2", "steps=3")
    assert status == 0
    assert [line[:8] for line in out if " from " in line] == ["1. from ", "2. from "]
    assert sum(line.startswith("   0.50") for line in out) == 2
    assert files(tmp_path) == []
    status, again, _ = run("task=interpolate", "count=2", "steps=3", "out=walks")
    assert (status, again[-1]) == (0, "walks/interpolation.txt")
    assert again[:-1] == out == (tmp_path / again[-1]).read_text().splitlines()


def on_its_own(folder, *arguments):
    command = [sys.executable, str(ROOT / "infer.py"), *arguments, "name=tiny", *QUICK]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_the_command_runs_on_its_own(chain_runs, tmp_path):
    write_xray(tmp_path / "scan (1).png")
    done = on_its_own(tmp_path, "image=scan (1).png", "out=results", f"runs={chain_runs}")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "results/scan (1)/justification.html"
    assert files(tmp_path) == ["results", "scan (1).png"]


def test_one_xray_does_not_wait_for_what_trains_and_measures(chain_runs, tmp_path):
    write_xray(tmp_path / "x.png")
    arguments = [f"image={tmp_path}/x.png", f"runs={chain_runs}", "name=tiny", f"out={tmp_path}/o"]
    arguments += QUICK
    script = f"""
import sys
from xrj.cli import infer
sys.argv = ["infer.py", *{arguments}]
infer()
print(*sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = {name.split(".")[0] for name in done.stdout.splitlines()[-1].split()}
    assert "torch" in loaded
    trains = {"pytorch_lightning", "lightning_fabric", "torchmetrics", "wandb", "albumentations"}
    measures = {"pandas", "scipy", "statsmodels", "pycocoevalcap"}
    assert not loaded & (trains | measures)


def test_the_command_is_told_as_it_was_typed(chain_runs, tmp_path):
    (tmp_path / "runs (1), it's").symlink_to(chain_runs)
    typed = ["task=report", "out=my report", "runs=runs (1), it's", "count=1", "mapped=1"]
    done = on_its_own(tmp_path, *typed)
    assert done.returncode == 0, done.stderr
    command = json.loads((tmp_path / "my report/summary.json").read_text())["command"]
    assert shlex.split(command) == ["python", str(ROOT / "infer.py"), *typed, "name=tiny", *QUICK]


def test_paper_chooses_the_letter():
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        paper = compose("infer", ["mapping=paper"]).mapping
        default = compose("infer").mapping
    assert (paper.line_search, paper.tolerance, paper.steps, paper.iterations) == (
        False,
        0,
        100,
        20,
    )
    assert paper.tries == 20
    assert default.line_search


def test_a_folder_as_on_a_disc_is_found_named_and_led_back(run, tmp_path):
    """Nested, without suffixes, with hostile names: each X-ray gets its folder."""
    inside = tmp_path / "in"
    (inside / "DOE_JANE").mkdir(parents=True)
    data = as_bytes(radiograph(xray(shape=(40, 30)), BodyPartExamined="CHEST", ViewPosition="PA"))
    for name in ("DOE_JANE/IM000001", "DICOMDIR"):
        (inside / name).write_bytes(data)
    (inside / "DOE_JANE" / "lateral").write_bytes(
        as_bytes(radiograph(xray(shape=(40, 30)), BodyPartExamined="CHEST", ViewPosition="LL"))
    )
    for number, name in enumerate((b"...png", b".png", b"caf\xe9.png", b"CON.png", b"x" * 251)):
        picture = write_xray(tmp_path / "scan.png", seed=number)
        picture.rename(inside / os.fsdecode(name))
    (inside / "README.TXT").write_text("read me")
    (tmp_path / "in" / "CON-2.png").write_bytes(b"broken")
    (tmp_path / "results" / "xray").mkdir(parents=True)
    (tmp_path / "results" / "xray" / "thesis.txt").write_text("years of work")
    status, out, err = run("image=in", "out=results", "names=keep")
    assert status == 0, err
    made = files(tmp_path / "results")
    dicom = anonymous_name(data)
    others = ["CON-3", "caf_", "png", "x" * 200]
    assert made == sorted(["index.html", "names.csv", "xray", dicom, *others])
    assert files(tmp_path / "results" / "xray") == ["thesis.txt"]
    assert len(out) == 6
    assert f"{dicom}: " in "\n".join(out)
    assert not re.search("DOE|IM0", "\n".join([*out, *err]))
    assert "3 of 8 files were skipped" in err
    assert err[-1] == "2 passed over, which hold no X-ray: DICOMDIR, README.TXT"
    names = read_names(tmp_path / "results" / "names.csv")
    assert names[dicom] == str(inside / "DOE_JANE" / "IM000001")
    assert names["caf_"].endswith(r"/caf\udce9.png")
    assert len(names) == 8
    record = json.loads((tmp_path / "results" / "caf_" / "justification.json").read_text())
    assert record["image"] == "in/caf\ufffd.png"
    status, out, err = run("image=.", "out=results")  # without what the run before has made
    assert (status, len(out)) == (0, 6)
    assert "names.csv" in files(tmp_path / "results")


def test_warnings_are_counted_in_the_terminal_and_the_index(run, tmp_path):
    for name in ("a.png", "b.png"):
        write_xray(tmp_path / "in" / name)
    _, out, _ = run("image=in", "out=results", "unexplained=0.01")
    counts = []
    for line in out[:-1]:
        folder = line.partition(".")[0]
        record = json.loads((tmp_path / "results" / folder / "justification.json").read_text())
        counts.append(len(record["evidence"]["warnings"]))
        noun = "warning" if counts[-1] == 1 else "warnings"
        assert f" %), {counts[-1]} {noun}; alternative" in line
    index = (tmp_path / "results" / "index.html").read_text()
    assert f"{sum(counts)} warnings, on 2 of 2 X-rays." in index.partition("<section")[0]


def test_a_reader_who_leaves_and_a_poor_terminal_end_no_work(chain_runs, tmp_path):
    """As `| head -1` does, in a shell that knows ASCII alone."""
    (tmp_path / "in").mkdir()
    for name in (b"a.png", b"\xfcb.png", b"c.png"):
        write_xray(tmp_path / "scan.png").rename(tmp_path / "in" / os.fsdecode(name))
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, str(ROOT / "infer.py"), "image=in", "out=results", "batch=1"]
    command += ["name=tiny", f"runs={chain_runs}", *QUICK]
    poor = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    done = subprocess.run(
        command, cwd=tmp_path, env=poor, stdout=write, stderr=subprocess.PIPE, text=True
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")
    assert files(tmp_path / "results") == ["_b", "a", "c", "index.html"]


def test_config_errors_are_user_errors():
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("infer", ["task=nothing"])
    with pytest.raises(ConfigError, match="justify, report, evaluate, interpolate"):
        run_task(cfg)
