from tests.fuzz import fuzz


def test_broken_files_are_read_or_refused_by_name(tmp_path):
    assert fuzz(300, 1, tmp_path) == []
