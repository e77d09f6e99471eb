import pytest

from tools.iu_views import make_view_table
from xrj.datamodules.openi import read_reports
from xrj.datamodules.records import Counts
from xrj.datamodules.views import View, package_views, view_key


def test_header_fields_by_trust(tmp_path):
    columns = "imageid,View Position,Patient Orientation,Acquisition Device Processing Code"
    rows = [
        "lateral,LL,\"['L', 'F']\",60025",
        "orientation,,\"['A', 'F']\",60025",
        "preset,PA,\"['L', 'F']\",60003",
        "clustered,AP,,60003",
        "code,,,2",
        "stated,AP,,0",
        "nothing,,,0",
        "other,LL,,",
    ]
    (tmp_path / "metadata.csv").write_text("\n".join([columns, *rows]) + "\n")
    (tmp_path / "clusters.csv").write_text("imageid,tsne-view\nlateral,PA\nclustered,PA\n")
    studies = [
        ("lateral",),
        ("orientation",),
        ("preset",),
        ("clustered",),
        ("code",),
        ("stated",),
        ("nothing", "other"),
    ]
    assert make_view_table(studies, tmp_path / "metadata.csv", tmp_path / "clusters.csv") == {
        "lateral": View("L", "view_position"),
        "orientation": View("L", "orientation"),
        "preset": View("L", "processing_code"),
        "clustered": View("AP", "clusters"),
        "code": View("F", "processing_code"),
        "stated": View("AP", "view_position"),
        "nothing": View("F", "elimination"),
        "other": View("L", "view_position"),
    }


@pytest.mark.data
def test_the_package_file_is_what_its_maker_makes(shared_data):
    folder = shared_data / "iu_xray"
    reports = read_reports(folder, Counts(), max_broken=0.0)
    views = make_view_table(
        [report.image_ids for report in reports],
        folder / "nlmcxr_dicom_metadata.csv.gz",
        folder / "nlmcxr_tsne_pa.csv.gz",
    )
    assert {view_key(image_id): view for image_id, view in views.items()} == package_views()
