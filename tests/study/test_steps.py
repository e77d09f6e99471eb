"""`task=study` as its operator uses it: steps in, lines, files and one-line errors out."""

import json
import re
import shutil
import stat

import pytest

from tests.commands import call_infer
from xrj.files import locked
from xrj.study.folder import LOCK_NAME, open_study, read_links

QUICK = ["mapping.tries=1", "mapping.steps=2", "refinement.steps=1", "walk=2", "device=cpu"]
DESIGN = ["study.readers=[ann,bea]", "study.per_reader=3", "study.shared=2"]


@pytest.fixture
def run(chain_runs, tmp_path, monkeypatch, capsys):
    """Call `infer.py task=study`; return exit status, lines of stdout and of stderr."""

    def call(step, *arguments):
        given = [f"study.step={step}"] if step else []
        runs = ["name=tiny", f"runs={chain_runs}"]
        given += ["task=study", *runs, "out=s", *QUICK, *arguments]
        return call_infer(monkeypatch, capsys, tmp_path, given)

    return call


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Give the place of a study that is drawn once, and what drawing it printed."""
    return tmp_path_factory.mktemp("drawn") / "s", []


@pytest.fixture
def study(run, drawn, tmp_path):
    """Give each test its own copy of that study."""
    place, lines = drawn
    if place.exists():
        shutil.copytree(place, tmp_path / "s")
    else:
        status, out, err = run("sample", *DESIGN)
        assert status == 0, err
        lines += out
        shutil.copytree(tmp_path / "s", place)
    return open_study(tmp_path / "s")


def test_sample_draws_a_study_from_the_test_split(study, drawn, tmp_path):
    out = drawn[1]
    assert out[0] == ("12 ratings: 2 readers x 2 methods x 3 X-rays; all readers rate 2 of them")
    assert out[1] == "10 different X-rays of 12 in the test split"
    assert out[2] == "overlap=needed: each X-ray appears under one method"
    assert out[-1] == "personal links, one a reader: s/links.txt"
    assert study.info["counts"]["test_split"] == 12
    assert study.info["data"]["split_hash"] == study.info["model"]["split"]
    assert set(study.info["model"]["stages"]) >= {"gan2", "inverse", "classifier"}
    truth = study.truth()
    assert len(truth) == 10
    for item, sealed in truth.items():
        html = study.evidence(item)
        assert sealed.diagnosis in html.lower()
        assert html.count("<img") == (4 if sealed.method == "counterfactual" else 3)
        assert sealed.image not in html
        assert str(tmp_path) not in html
    assert len({study.evidence(item) for item in truth}) == 10


def test_one_seed_draws_one_study(run, study, tmp_path):
    (tmp_path / "s").rename(tmp_path / "first")
    assert run("sample", *DESIGN)[0] == 0
    pairs = []
    for name in ("first", "s"):
        opened = open_study(tmp_path / name)
        truth = opened.truth()
        pairs.append(
            [
                (truth[item].image, truth[item].method, truth[item].diagnosis)
                for reader in opened.store.readers()
                for item in opened.store.items(reader)
            ]
        )
    assert pairs[0] == pairs[1]


def test_simulate_and_analyse(run, study, tmp_path):
    status, out, _ = run("simulate")
    assert (status, out[0][:11]) == (0, "12 ratings ")
    status, out, err = run("analyse", "study.resamples=100")
    assert (status, err) == (0, [])
    assert out[0].startswith("Simulated readers")
    assert any(line.startswith("Q1 Justification, 1-4") for line in out)
    assert out[-1] == "s/analysis.html"
    record = json.loads((tmp_path / "s" / "analysis.json").read_text())
    assert record["simulated"] is True
    assert record["progress"]["ann"] == {"finished": 6, "begun": 0, "assigned": 6}
    assert set(record["subsets"]) == {"all", "right", "wrong"}
    assert "Simulated readers" in (tmp_path / "s" / "analysis.md").read_text()
    assert "Simulated readers" in (tmp_path / "s" / "analysis.html").read_text()
    assert len((tmp_path / "s" / "ratings.csv").read_text().splitlines()) == 13
    for name in ("ratings.csv", "answers.csv"):
        assert stat.S_IMODE((tmp_path / "s" / name).stat().st_mode) == 0o600
    status, _, err = run("serve")
    assert (status, len(err)) == (2, 1)
    assert "simulated answers" in err[0]
    assert run("simulate")[0] == 2


def test_serve_moves_the_links_to_its_address(run, study, monkeypatch):
    served = []
    monkeypatch.setattr("xrj.web.server.serve", lambda app, **place: served.append(place))
    before = read_links(study.folder)
    assert run("serve", "serve.port=9000")[0] == 0
    assert served == [{"host": "127.0.0.1", "port": 9000}]
    after = read_links(study.folder)
    assert after["ann"] == before["ann"].replace(":8000/", ":9000/")
    run("serve", "study.url=https://study.example.org/")
    moved = read_links(study.folder)["ann"]
    assert re.fullmatch(r"https://study\.example\.org/r/[\w-]{43}", moved)
    assert study.store.reader_of(moved.rpartition("/")[2]).name == "ann"
    assert stat.S_IMODE((study.folder / "links.txt").stat().st_mode) == 0o600


def test_a_lost_link_is_made_anew(run, study):
    before = read_links(study.folder)
    assert run("link", "study.reader=bea")[0] == 0
    after = read_links(study.folder)
    assert after["ann"] == before["ann"]
    old, new = (links["bea"].rpartition("/")[2] for links in (before, after))
    assert study.store.reader_of(old) is None
    assert study.store.reader_of(new).name == "bea"
    (study.folder / "links.txt").unlink()
    assert run("link", "study.reader=ann")[0] == 0
    assert list(read_links(study.folder)) == ["ann"]


@pytest.mark.parametrize(
    ("step", "arguments", "named"),
    [
        (None, [], "choose one of sample, serve, analyse"),
        ("paint", [], "study.step=paint"),
        ("serve", [], "no study there"),
        ("analyse", [], "no study there"),
        ("sample", ["study.per_reader=50"], "12 X-rays"),
        ("sample", [*DESIGN, "study.per_reader=4", "study.overlap=never"], "overlap=needed"),
        ("sample", [*DESIGN, "study.shared=3"], "study.shared=3"),
        ("sample", [*DESIGN, "study.methods=[crystal_ball]"], "crystal_ball"),
        ("sample", ["study.readers=['../ann']"], "../ann"),
        ("sample", ["study.readers=[]"], "study.readers"),
        ("sample", [*DESIGN, "study.url=study"], "study.url=study"),
        ("sample", [*DESIGN, "serve.port=0"], "serve.port"),
        ("sample", [*DESIGN, "serve.host=0.0.0.0"], "study.url="),
        ("sample", [*DESIGN, "chain.classifier=absent"], "stage=classifier name=tiny"),
        ("sample", ["study.resamples=1"], "study.resamples=1"),
        ("sample", ["+study.colour=blue"], "study.colour"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(run, tmp_path, step, arguments, named):
    status, _, err = run(step, *arguments)
    assert status == 2
    assert len(err) == 1
    assert err[0].startswith("error: ")
    assert named in err[0]
    assert list(tmp_path.iterdir()) == []


def test_mistakes_with_a_study(run, study):
    for step, arguments, named in (
        ("sample", DESIGN, "never written over"),
        ("link", ["study.reader=eve"], "choose one of ann, bea"),
        ("analyse", [], "no answer yet"),
        ("simulate", ["study.simulated.agreement=[2,0,0,0]"], "from 0 to 1"),
    ):
        status, _, err = run(step, *arguments)
        assert (status, len(err)) == (2, 1)
        assert named in err[0]
    with locked(study.folder / LOCK_NAME, wait=False):
        status, _, err = run("serve")
    assert (status, len(err)) == (2, 1)
    assert "another server" in err[0]
    (study.folder / "study.json").write_text("{}")
    status, _, err = run("serve")
    assert (status, len(err)) == (2, 1)
    assert "study.json" in err[0]
