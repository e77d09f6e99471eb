"""The documentation points at what is there."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_project_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    inside = [target for target in targets if not target.startswith(("http:", "https:", "mailto:"))]
    missing = [target for target in inside if not (page.parent / target).exists()]
    assert not missing


@pytest.mark.parametrize("page", ["library", "justify"])
def test_the_code_of_a_page_runs_from_its_beginning_to_its_end(
    page, chain_runs, tmp_path, monkeypatch, capsys
):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "starter").symlink_to(chain_runs / "tiny")
    (tmp_path / "xrays").mkdir()
    (tmp_path / "xrays" / "notes.txt").write_text("no X-ray")
    for name in ("xray.png", "xrays/a.png", "xrays/b.png"):
        pixels = np.random.default_rng(len(name)).integers(0, 256, (70, 60), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    code = "".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    exec(compile(code, page, "exec"), {"__name__": page})  # noqa: S102
    told = capsys.readouterr().out
    if page == "library":
        assert told == "skipped: xrays/notes.txt: neither PNG, JPEG nor DICOM; convert it\n"
        folders = ["out", "results/0", "results/1"]
    else:
        assert told == "left right\n"
        folders = ["waves"]
    assert all((tmp_path / name / "justification.html").is_file() for name in folders)
