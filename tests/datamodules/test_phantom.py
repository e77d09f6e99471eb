import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import scipy.stats

from xrj.datamodules.captions import make_captions, sentences
from xrj.datamodules.commands import run_command
from xrj.datamodules.openi import parse_report
from xrj.datamodules.phantom import (
    effusion_regions,
    main,
    redraw,
    redraws,
    write_phantom,
    write_phantom_for_reports,
)
from xrj.datamodules.phantom_anatomy import (
    ENLARGED,
    NORMAL,
    Findings,
    ctr_of_same_rank,
    draw_acquisition,
    draw_ctr,
    draw_patient,
)
from xrj.datamodules.phantom_physics import grid
from xrj.datamodules.phantom_render import (
    frontal_truth,
    heart_thickness,
    render_frontal,
)
from xrj.datamodules.phantom_reports import ReportText, openi_xml
from xrj.datamodules.phantom_study import EFFUSION, draw_study, render_study
from xrj.errors import DataError
from xrj.files import read_json, write_json

EVERYTHING = Findings(
    effusion="bilateral",
    effusion_size=3.8,
    nodule="left",
    opacity="right",
    granuloma="left",
    pacemaker="left",
    sternotomy=True,
    catheter="right",
    scoliosis=1.1,
    degenerative=True,
)


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    return write_phantom(
        tmp_path_factory.mktemp("data") / "phantom", reports=30, seed=3, size=64, cardiomegaly=0.3
    )


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "reports.tgz"
    with tarfile.open(path, "w:gz") as tar:
        for number, term in ((4, "normal"), (5, "Cardiomegaly/severe"), (6, "Cardiomegaly/mild")):
            names = [f"CXR{number}_1_IM-0001-{k}001" for k in (3, 4)]
            text = ReportText("", "", "Heart.", "", (term,))
            document = openi_xml(number, text, names, "PA and lateral chest")
            member = tarfile.TarInfo(f"ecgen-radiology/{number}.xml")
            member.size = len(document)
            tar.addfile(member, io.BytesIO(document))
    return path


def group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def truth_of(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "truth.csv", keep_default_na=False)


def pictures_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "NLMCXR_png").iterdir()}


def test_same_seed_gives_same_bytes_with_any_number_of_workers_and_reports(phantom, tmp_path):
    parameters = {"seed": 3, "size": 64, "cardiomegaly": 0.3}
    more = write_phantom(tmp_path / "more", reports=60, workers=2, **parameters)
    first, second = pictures_of(phantom), pictures_of(more)
    assert first.items() <= second.items()
    assert len(second) > len(first)
    other = write_phantom(tmp_path / "other", reports=5, seed=4, size=64, cardiomegaly=0.3)
    assert not set(pictures_of(other).values()) & set(first.values())


def test_layout_names_every_picture_in_report_truth_and_projections(phantom):
    ids = [
        image_id
        for path in (phantom / "ecgen-radiology").iterdir()
        for image_id in parse_report(path.read_bytes()).image_ids
    ]
    truth = truth_of(phantom)
    views = pd.read_csv(phantom / "projections.csv")
    assert sorted(ids) == sorted(truth["image_id"])
    assert {f"{name}.png" for name in ids} == set(pictures_of(phantom)) == set(views["filename"])
    assert set(views["projection"]) == {"Frontal", "Lateral"}
    image = cv2.imread(str(phantom / "NLMCXR_png" / views["filename"][0]), cv2.IMREAD_UNCHANGED)
    assert image.shape == (64, 64)
    assert image.dtype == np.uint8


def test_label_follows_from_the_ratio_and_agrees_with_mesh(phantom):
    truth = truth_of(phantom).set_index("report_uid")
    for path in (phantom / "ecgen-radiology").iterdir():
        root = ET.parse(path).getroot()
        uid = root.find("uId").get("id")
        if uid not in truth.index:
            continue
        row = truth.loc[[uid]].iloc[0]
        mesh = [term.text for term in root.iterfind("MeSH/major")]
        assert (row["label"] == "normal") == (mesh == ["normal"])
        if mesh:
            assert (row["ctr"] > 0.5) == any(term.startswith("Cardiomegaly") for term in mesh)
    frontal = truth[truth["view"] == "frontal"].astype({"heart_left": float, "thorax_left": float})
    width = frontal["heart_right"].astype(float) - frontal["heart_left"]
    thorax = frontal["thorax_right"].astype(float) - frontal["thorax_left"]
    assert np.allclose(width / thorax, frontal["ctr"], atol=1e-3)


def test_awkward_reports_occur():
    studies = [draw_study(0, number, 0.2, 0.2) for number in range(1, 400)]
    reports = [parse_report(study.document) for study in studies]
    assert any(not report.findings for report in reports)
    assert any(not report.mesh for report in reports)
    assert any(not report.image_ids for report in reports)
    assert any("XXXX" in report.findings for report in reports)
    views = {tuple(view for _, view in study.images) for study in studies}
    assert ("frontal", "frontal", "lateral") in views
    assert ("frontal",) in views


def test_words_of_the_captions_recur():
    words = Counter(
        word
        for number in range(1, 1001)
        for caption in make_captions(
            sentences(parse_report(draw_study(0, number, 0.16, 0.15).document).findings)
        )
        for word in caption
    )
    assert np.mean([count >= 20 for count in words.values()]) >= 0.95
    assert {"cardiomegaly", "no", "possible", "not"} <= words.keys()


@pytest.mark.parametrize("ctr", [0.36, 0.48, 0.6, 0.7])
def test_drawn_heart_reaches_exactly_from_border_to_border(ctr):
    for index in range(5):
        patient = draw_patient(1, f"CXR{index}", ctr, Findings())
        acquisition = draw_acquisition(1, f"CXR{index}", 0, "frontal")
        truth = frontal_truth(patient, acquisition)
        columns = np.flatnonzero(
            heart_thickness(patient, acquisition, *grid(acquisition, 512)).any(0)
        )
        assert columns[0] / 512 == pytest.approx(truth.heart_left, abs=1.01 / 512)
        assert (columns[-1] + 1) / 512 == pytest.approx(truth.heart_right, abs=1.01 / 512)


def test_distractors_change_the_picture_but_not_the_truth():
    plain = draw_patient(1, "CXR1", 0.45, Findings())
    marked = replace(plain, findings=EVERYTHING)
    acquisition = draw_acquisition(1, "CXR1", 0, "frontal")
    assert frontal_truth(plain, acquisition) == frontal_truth(marked, acquisition)
    pictures = [render_frontal(patient, acquisition, 128) for patient in (plain, marked)]
    assert np.abs(pictures[0].astype(int) - pictures[1]).max() > 40


def test_findings_do_not_move_the_anatomy_or_the_heart():
    with_all = draw_patient(1, "CXR1", draw_ctr(1, "CXR1", enlarged=True), EVERYTHING)
    without = draw_patient(1, "CXR1", draw_ctr(1, "CXR1", enlarged=True), Findings())
    assert replace(with_all, findings=Findings()) == without


def test_second_call_is_a_no_op_and_other_parameters_are_refused(phantom):
    before = (phantom / "phantom.json").stat().st_mtime_ns
    parameters = {"reports": 30, "size": 64, "cardiomegaly": 0.3}
    assert write_phantom(phantom, seed=3, **parameters) == phantom
    assert (phantom / "phantom.json").stat().st_mtime_ns == before
    with pytest.raises(DataError, match="other parameters"):
        write_phantom(phantom, seed=4, **parameters)


def test_folder_of_something_else_is_refused_and_kept(tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(DataError, match="no phantom"):
        write_phantom(tmp_path, reports=2, seed=0, size=64)
    assert (tmp_path / "mine.txt").read_text() == "precious"


def test_killed_in_the_middle_leaves_no_folder_and_a_second_call_finishes(tmp_path):
    out = tmp_path / "phantom"
    command = [sys.executable, "-m", "xrj.datamodules.phantom", "--out", str(out), "--size", "64"]
    with subprocess.Popen(
        [*command, "--reports", "2000"], stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        while not list((tmp_path / ".phantom.partial").glob("NLMCXR_png/*.png")):
            assert process.poll() is None
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
    workers_follow = (not group_lives(process.pid) or time.sleep(0.02) for _ in range(1000))
    assert any(workers_follow)
    assert not out.exists()
    write_phantom(out, reports=3, seed=0, size=64)
    assert (out / "phantom.json").is_file()
    assert not (tmp_path / ".phantom.partial").exists()


def test_failure_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("xrj.datamodules.phantom.cv2.imencode", full)
    with pytest.raises(DataError, match="No space left"):
        write_phantom(tmp_path / "phantom", reports=3, seed=0, size=64)
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".lock"]


def test_archive_is_copied_and_drawn_after_its_mesh(archive, tmp_path):
    out = write_phantom_for_reports(archive, tmp_path / "out", seed=0, size=64)
    truth = truth_of(out)
    assert list(truth["view"]) == ["frontal", "lateral"] * 3
    assert list(truth["label"][::2]) == ["normal", "cardiomegaly", "cardiomegaly"]
    normal, severe, mild = truth["ctr"][::2]
    assert normal < 0.5 < mild < severe
    with tarfile.open(archive) as tar:
        original = tar.extractfile("ecgen-radiology/5.xml").read()
    assert (out / "ecgen-radiology" / "5.xml").read_bytes() == original


def test_a_picture_is_drawn_again_with_another_heart_and_all_else_as_it_was(phantom):
    truth = truth_of(phantom).query("view == 'frontal' and label != 'other'").iloc[:8]
    stored = [
        cv2.imread(str(phantom / "NLMCXR_png" / f"{name}.png"), cv2.IMREAD_UNCHANGED)
        for name in truth["image_id"]
    ]
    assert set(truth["label"]) == {"normal", "cardiomegaly"}
    same = redraw(phantom, truth["image_id"], truth["label"])
    assert all((a == b).all() for a, b in zip(stored, same, strict=True))
    flipped = {"normal": "cardiomegaly", "cardiomegaly": "normal"}
    other = redraw(phantom, truth["image_id"], truth["label"].map(flipped))
    for label, old, new in zip(truth["label"], stored, other, strict=True):
        apart = new.astype(float) - old
        grows = apart[24:48].mean() > apart[:16].mean()  # the heart is brighter than the lungs
        assert grows == (label == "normal")
        assert np.abs(apart[:16]).mean() < 0.3 * np.abs(apart[24:48]).mean()


@pytest.mark.parametrize(
    ("enlarged", "own", "other"), [(True, NORMAL, ENLARGED), (False, ENLARGED, NORMAL)]
)
def test_a_heart_keeps_its_rank_under_the_other_label(enlarged, own, other):
    def truncated(mean, sd, low, high):
        return scipy.stats.truncnorm((low - mean) / sd, (high - mean) / sd, mean, sd)

    drawn = [draw_ctr(0, f"CXR{k}", enlarged=not enlarged) for k in range(200)]
    mapped = [ctr_of_same_rank(ctr, enlarged=enlarged) for ctr in drawn]
    assert mapped == pytest.approx(truncated(*other).ppf(truncated(*own).cdf(drawn)), abs=1e-6)
    assert [ctr_of_same_rank(ctr, enlarged=not enlarged) for ctr in mapped] == pytest.approx(drawn)
    assert [ctr_of_same_rank(ctr, enlarged=not enlarged) for ctr in drawn] == drawn
    assert [ctr_of_same_rank(end, enlarged=enlarged) for end in own[2:]] == pytest.approx(other[2:])


def test_only_phantoms_of_their_own_reports_are_drawn_again(phantom, archive, tmp_path):
    assert redraws(phantom)
    assert not redraws(write_phantom_for_reports(archive, tmp_path / "out", seed=0, size=64))
    assert not redraws(tmp_path)
    shutil.copytree(phantom, tmp_path / "old")
    info = read_json(tmp_path / "old/phantom.json")
    info["parameters"]["version"] -= 1
    write_json(tmp_path / "old/phantom.json", info)
    assert not redraws(tmp_path / "old")


def test_rows_of_the_truth_say_what_is_drawn():
    study = draw_study(0, 1, 0.0, 1.0)
    marked = replace(study, patient=replace(study.patient, findings=EVERYTHING))
    for row, image in render_study(0, marked, 64):
        assert (row["effusion"], row["nodule"], row["pacemaker"]) == ("bilateral", "left", "left")
        assert image.std() > 30


@pytest.mark.parametrize("value", ["0", "missing.tgz"])
def test_command_answers_a_mistake_with_one_line(value, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["phantom", "--out", str(tmp_path / "out"), "--reports", value])
    with pytest.raises(SystemExit) as caught:
        run_command(main)
    assert caught.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert message.count("\n") == 1


@pytest.fixture(scope="module")
def fluid(tmp_path_factory):
    shares = {"cardiomegaly": 0.3, "effusion": 0.4, "other": 0.15}
    return write_phantom(
        tmp_path_factory.mktemp("data") / "fluid", reports=40, seed=5, size=96, **shares
    )


def test_effusions_are_drawn_with_normal_hearts_and_indexed(fluid):
    truth = truth_of(fluid)
    wet = truth["label"] == EFFUSION
    assert 0.2 < wet.mean() < 0.6
    assert (truth.loc[wet, "ctr"] < 0.5).all()
    assert set(truth.loc[wet, "effusion"]) == {"left", "right"}
    assert set(truth.loc[truth["label"].isin(["normal", "other"]), "effusion"]) <= {""}
    for uid in set(truth.loc[wet, "report_uid"]):
        report = parse_report(
            (fluid / f"ecgen-radiology/{uid.removeprefix('CXR')}.xml").read_bytes()
        )
        assert any(term.startswith("Pleural Effusion") for term in report.mesh)


def test_a_phantom_without_a_share_of_effusions_is_the_one_of_before(phantom):
    assert "effusion" not in read_json(phantom / "phantom.json")["parameters"]
    shares = {"reports": 30, "seed": 3, "size": 64, "cardiomegaly": 0.3}
    assert write_phantom(phantom, **shares, effusion=0.0) == phantom
    with pytest.raises(DataError, match="other parameters"):
        write_phantom(phantom, **shares, effusion=0.1)
    with pytest.raises(DataError, match=r"effusion=0\.8.*at most 1"):
        write_phantom(phantom / "new", **shares, effusion=0.8)


def test_a_patient_is_drawn_again_with_and_without_fluid(fluid):
    truth = truth_of(fluid)
    both = (truth["label"] == "cardiomegaly") & (truth["effusion"] != "")
    truth = truth[(truth["view"] == "frontal") & (truth["label"] != "other") & ~both].iloc[:20]
    ids, own = list(truth["image_id"]), list(truth["label"])
    stored = [
        cv2.imread(str(fluid / f"NLMCXR_png/{name}.png"), cv2.IMREAD_UNCHANGED) for name in ids
    ]
    assert all((a == b).all() for a, b in zip(stored, redraw(fluid, ids, own), strict=True))
    regions = effusion_regions(fluid, ids)
    dry = redraw(fluid, ids, ["normal"] * len(ids))
    wet = redraw(fluid, ids, [EFFUSION] * len(ids))
    for region, before, after in zip(regions, dry, wet, strict=True):
        change = after.astype(float) - before
        assert 0.03 < region.mean() < 0.3
        assert not region[:48].any()  # below the middle, and beside the spine
        assert not region[:, 46:50].any()
        assert np.abs(change)[region].sum() > 0.8 * np.abs(change).sum()
        assert change[region].sum() > 0  # fluid is brighter than lung
        assert (np.abs(change[:, :48]).sum() > 50) != (np.abs(change[:, 48:]).sum() > 50)
