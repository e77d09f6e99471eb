import pytest

from xrj.datamodules.tabular import read_csv
from xrj.errors import DataError

COLUMNS = ("image", "patient_id", "findings")
TEXT = "The heart is normal, as before."


@pytest.fixture
def read(tmp_path):
    """Return rows and notes of a file with these bytes or this text."""

    def read(data, **options):
        path = tmp_path / "data.csv"
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        notes = []
        return read_csv(path, COLUMNS, notes, **options), notes

    return read


PLAIN = f'image,patient_id,findings\na.png,001,"{TEXT}"\nb.png,1e3,None today.\n'
ROWS = [
    {"image": "a.png", "patient_id": "001", "findings": TEXT},
    {"image": "b.png", "patient_id": "1e3", "findings": "None today."},
]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (PLAIN, ""),
        (PLAIN.replace("\n", "\r\n"), ""),
        (PLAIN.replace("\n", "\r"), ""),
        (PLAIN.replace("\n", "\n\n").replace("b.png", ",,\nb.png"), ""),  # blank rows
        ("\ufeff" + PLAIN, ""),
        ("\n" + PLAIN, ""),
        (PLAIN.encode("utf-16"), "UTF-16"),
        (PLAIN.replace("findings\n", "findings,,,\n").replace("today.", "today.,,,"), ""),
        (PLAIN.replace(",", ", ").replace("normal,  as", "normal, as"), "spaces before fields"),
        (f"image;patient_id;findings\na.png;001;{TEXT}\nb.png;1e3;None today.\n", "a semicolon"),
        ("sep=;\n" + PLAIN.replace(",", ";").replace("normal;", "normal,"), "a semicolon"),
        (f"image\tpatient_id\tfindings\na.png\t001\t{TEXT}\nb.png\t1e3\tNone today.\n", "a tab"),
        (f"image|patient_id|findings\na.png|001|{TEXT}\nb.png|1e3|None today.\n", "a vertical bar"),
        (PLAIN.replace("patient_id", "Patient ID"), "'Patient ID' as patient_id"),
        (PLAIN.replace("image", "IMAGE"), "'IMAGE' as image"),
        (PLAIN.replace("image", '"image "'), ""),
        (PLAIN.replace("image", "Image,image").replace("\n", "\nx,").removesuffix("x,"), ""),
    ],
)  # fmt: skip
def test_what_can_mean_one_thing_is_read_and_said(read, data, said):
    rows, notes = read(data)
    assert rows == ROWS
    assert [said in note and "data.csv: read with" in note for note in notes] == [True] * bool(said)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("", "column 'image' is missing; it needs image, patient_id, findings and has none"),
        ("image,patient_id,findings\n", "holds no row below its header"),
        ("image,patient_id,findings\n,,\n\n", "holds no row below its header"),
        ("image,patient_id,text\na,b,c\n", r"column 'findings' is missing; [^\n]*'text'"),
        ("image,patient_id,findings,Image\na,b,c,d\n", None),
        ("Image,IMAGE,patient_id,findings\na,b,c,d\n", "column 'image' stands twice"),
        (PLAIN.replace('"', ""), r'row 2 has 4 fields and the header 3; put a text [^\n]*"\.\.\."'),
        (PLAIN.replace('"The', ' "The'), r'row 2 has 4 fields[^\n]*"\.\.\."[^\n]*no space'),
        (PLAIN.replace("None today.", ' "None today."'), r"row 3 has a space before the quotes"),
        (PLAIN.replace("None today.", "x" + "," * 1000 + "y"), "row 3 has 1,003 fields"),
        (PLAIN.replace(",None today.", ""), "row 3 has 2 fields and the header 3; complete it"),
        (PLAIN.replace("None", '"None'), "row 3 is not valid CSV"),
        (PLAIN.replace('before."', "before."), "row 2 is not valid CSV"),
        (PLAIN.replace("1e3", "1\0"), "line 3 holds a NUL byte"),
        (PLAIN.encode("utf-16-le"), "line 1 holds a NUL byte"),
        (PLAIN.replace("None", "Né").encode("latin-1"), r"not UTF-8 text \(line 3, byte"),
        (b"\xff\xfe\x00", "not UTF-8 text"),
        (b"PK\x03\x04\x14\x00\x06\x00\x08\x00\xff", "not UTF-8 text"),
        pytest.param(PLAIN.replace("None", "x" * 200_000), r"row 3 [^\n]*\(field la", id="field"),
        pytest.param("x" * 200_000, r"row 1 is not valid CSV \(field larger", id="header"),
        (f"image;patient_id;findings\na;1;{TEXT};again\n", "row 2 has 4 fields[^\n]*a semicolon"),
        (f"image\tpatient_id\tfindings\na\t1\t{TEXT}\tagain\n", "row 2 has 4 fields[^\n]*a tab"),
        (PLAIN.replace("b.png", "a.png"), "image 'a.png' stands twice, in rows 2 and 3"),
        (PLAIN.replace("b.png", ""), "row 3 has no image"),
    ],
)  # fmt: skip
def test_what_can_not_names_the_file_and_the_row(read, data, reason):
    if reason is None:
        assert read(data, unique="image")[0][0]["image"] == "a"  # the exact name goes first
        return
    with pytest.raises(DataError, match=rf"^[^\n]*data\.csv: {reason}[^\n]*$") as caught:
        read(data, unique="image")
    assert len(str(caught.value)) < 400


def test_rows_are_numbered_as_a_spreadsheet_does(read):
    rows, _ = read('image,patient_id,findings\n\na,1,"two\nlines"\nb,2,x\n')
    assert [row.number for row in rows] == [3, 4]


def test_text_is_composed(read):
    rows, _ = read("image,patient_id,findings\na,José,Le cœur est e\u0301largi\u00ad.\n")
    assert rows[0] == {"image": "a", "patient_id": "José", "findings": "Le cœur est élargi."}


def test_optional_columns_that_are_absent_are_empty(read):
    assert read(PLAIN, optional=("view",))[0] == [row | {"view": ""} for row in ROWS]
