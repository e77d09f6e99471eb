import csv
import gzip
import io
from collections import Counter
from importlib import resources

import pytest

from xrj.datamodules.views import (
    View,
    package_views,
    resolve_views,
    view_key,
    view_position,
)
from xrj.errors import DataError

FILE = "resources/iu_views.csv.gz"


@pytest.mark.parametrize(
    "name",
    [
        "CXR1_1_IM-0001-3001",
        "CXR1_IM-0001-3001",
        "1_IM-0001-3001.dcm.png",
        "CXR1_1_IM-0001-3001.png",
        "1_IM-0001-3001.dcm",
    ],
)
def test_spellings_of_one_image_have_one_key(name):
    assert view_key(name) == "CXR1_IM-0001-3001"


@pytest.mark.parametrize(
    ("name", "position"),
    [
        ("pa", "PA"),
        (" AP ", "AP"),
        ("Frontal", "F"),
        ("LL", "L"),
        ("lateral", "L"),
        ("", ""),
        ("oblique", ""),
    ],
)
def test_names_of_views(name, position):
    assert view_position(name) == position


def test_the_package_file_is_small_and_whole():
    data = resources.files("xrj.datamodules").joinpath(FILE).read_bytes()
    assert len(data) < 80_000
    rows = list(csv.DictReader(io.StringIO(gzip.decompress(data).decode())))
    assert list(rows[0]) == ["image_id", "view_position", "source"]
    assert len({row["image_id"] for row in rows}) == len(package_views()) == 7470
    kinds = Counter(view.kind for view in package_views().values())
    assert kinds == {"frontal": 3787, "lateral": 3608, "unknown": 75}


def test_projections_go_before_the_package_and_elimination_comes_last(tmp_path):
    (tmp_path / "projections.csv").write_text(
        "uid,filename,projection\n7,CXR7_IM-2263-1001.png,Lateral\n9,new-1.png,AP\n"
    )
    studies = [
        ("CXR7_IM-2263-1001", "CXR7_IM-2263-2001"),
        ("new-1", "new-2"),
        ("x", "y"),
        ("p", "q", "new-1"),
    ]
    views = resolve_views(studies, [], tmp_path)
    assert views["CXR7_IM-2263-1001"] == View("L", "projections")
    assert views["CXR7_IM-2263-2001"].source != "projections"
    assert views["new-1"] == View("AP", "projections")
    assert views["new-2"] == View("L", "elimination")
    assert views["x"] == views["y"] == views["p"] == View("", "")
    assert views["x"].kind == "unknown"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("uid,filename\n1,a.png\n", "column 'projection' is missing"),
        ("", "column 'filename' is missing"),
        ("uid,filename,projection\n1,a.png\n", "row 2 has 2 fields"),
        ("uid,filename,projection\n1,a.png,L,x\n", "row 2 has 4 fields"),
        ("uid,filename,projection\n1,a.png,oblique\n", "unknown projection 'oblique' of a.png"),
    ],
)
def test_a_bad_projections_table_names_itself(tmp_path, text, reason):
    (tmp_path / "projections.csv").write_text(text)
    with pytest.raises(DataError, match=rf"^[^\n]*projections\.csv: {reason}[^\n]*$"):
        resolve_views([("a",)], [], tmp_path)


@pytest.mark.data
def test_the_views_of_the_real_images(shared_data):
    expected = {
        "CXR7_IM-2263-1001": "frontal",
        "CXR7_IM-2263-2001": "lateral",
        "CXR25_IM-1024-2001": "frontal",
        "CXR54_IM-2145-1001": "frontal",
        "CXR54_IM-2145-1002": "lateral",
    }
    assert {path.stem for path in (shared_data / "iu_xray" / "images").iterdir()} == set(expected)
    views = resolve_views([(image_id,) for image_id in expected], [], shared_data / "iu_xray")
    assert {image_id: view.kind for image_id, view in views.items()} == expected
