"""Body parts as devices write them."""

import numpy as np
import pytest

from tests.datamodules.radiographs import as_bytes, radiograph, sequence
from xrj.datamodules.body_parts import body_part
from xrj.datamodules.decoding import decode_image
from xrj.errors import DataError

CHEST = """CHEST|Chest PA|CHEST_AP|PORT CHEST|CHEST/ABDOMEN|CXR|THORAX|Thorax p.a.|TORAX|TÓRAX
TO\u0301RAX|T?RAX|T\ufffdRAX|TÃ“RAX|RX DE TORAX|TORACE|CASSA TORACICA|cassa toracica
GABBIA TORACICA|POLMONI|BRUSTKORB|LUNGE|Brust|POUMON|POUMONS|POITRINE|PECHO|PULMON|PULMÃO|PEITO
BORSTKAS|BRÖSTKORG|BRYST
TORAKS|AKCİĞER|GÖĞÜS|KLATKA PIERSIOWA|PŁUCA|HRUDNÍK|PLÍCE|MELLKAS|RINTAKEHÄ|TORSO THORAX|LUNG
ГРУДНАЯ КЛЕТКА|ЛЁГКИЕ|ОГК|ΘΩΡΑΚΑΣ|ΘΏΡΑΞ|胸部|胸部正面|肺|흉부|صدر|HEART|Card|T-D3000|51185008
THORAX-RIBS|PRSNI KOŠ|PARU|THX|ENTIRE THORAX""".replace("\n", "|").split("|")
OTHER = """KNEE|LKNEE|Knie|GENOU|RODILLA|ABDOMEN|ABD|Bauch|腹部|HAND|LHAND|main|MANO|FOOT|PIED
膝|SKULL|SCHÄDEL|CRÂNE|HEAD|NECK|C-SPINE|CSPINE|LSPINE|LUMBAR SPINE|THORACIC SPINE|TSPINE|BWS
Brustwirbelsäule|COLUMNA DORSAL|RACHIS THORACIQUE|PELVIS|BECKEN|HIP|HÜFTE|SHOULDER|SCHULTER
ÉPAULE|CLAVICLE|WRIST|HANDGELENK|POIGNET|ELBOW|ANKLE|FINGER|THUMB|EXTREMITY|JAW|TEETH|BREAST|STERNUM
LUNGHEZZA GAMBE|ЖИВОТ|КОЛЕНО|ŁOKIEĆ|KOLANO""".replace("\n", "|").split("|")
UNKNOWN = ["XYZ", "WHOLEBODY", "UNDEFINED", "OTHER", "1", "BABYGRAM", "ΑΒΓ"]


@pytest.mark.parametrize("stated", CHEST)
def test_the_chest_is_known(stated):
    assert body_part(stated) == body_part(stated.lower()) == "chest"


@pytest.mark.parametrize("stated", OTHER)
def test_other_parts_are_known(stated):
    assert body_part(stated) == body_part(stated.title()) == "other"


@pytest.mark.parametrize("stated", UNKNOWN)
def test_what_is_not_known_is_doubted(stated):
    assert body_part(stated) == "unknown"
    assert body_part("") == body_part(" -_") == ""


GREY = np.random.default_rng(0).integers(0, 256, (40, 30), dtype=np.uint8)


def doubts_of(**tags):
    doubts = []
    decode_image(as_bytes(radiograph(GREY, **tags)), "x", warn=doubts.append)
    return doubts


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("charset", "stated"),
    [
        ("ISO_IR 100", "TÓRAX".encode("latin-1")),
        (None, "TÓRAX".encode("latin-1")),
        ("ISO_IR 192", "TÓRAX".encode()),
        (None, "胸部".encode()),
        ("ISO_IR 192", "胸部".encode()),
        ("GB18030", "胸部".encode("gb18030")),
        (["", "ISO 2022 IR 87"], "胸部".encode("iso2022_jp")),
        (["", "ISO 2022 IR 149"], b"\x1b$)C" + "흉부".encode("euc_kr")),
        ("ISO_IR 144", "ЛЕГКИЕ".encode("iso8859_5")),
        (None, "TÓRAX".encode("cp850")),
    ],
)
def test_a_body_part_is_read_in_any_character_set(charset, stated):
    dataset = radiograph(GREY, BodyPartExamined="X" * len(stated))
    if charset:
        dataset.SpecificCharacterSet = charset
    data = as_bytes(dataset).replace(b"X" * len(stated), stated)
    doubts = []
    decode_image(data, "x", warn=doubts.append)
    assert not doubts


def test_the_doubt_names_the_field_and_not_what_it_holds():
    (doubt,) = doubts_of(BodyPartExamined="XYZ")
    assert "Body Part Examined" in doubt
    assert "XYZ" not in doubt
    assert not doubts_of(
        BodyPartExamined="XYZ", AnatomicRegionSequence=sequence(CodeMeaning="Thorax")
    )
    assert not doubts_of(AnatomicRegionSequence=sequence(CodeValue="51185008", CodeMeaning="?"))
    region = sequence(CodeMeaning="Knee joint")
    with pytest.raises(DataError, match="Body Part Examined"):
        doubts_of(BodyPartExamined="XYZ", AnatomicRegionSequence=region)


def test_a_doubt_that_nobody_asked_for_is_logged(caplog):
    decode_image(as_bytes(radiograph(GREY, BodyPartExamined="XYZ")), "x.dcm")
    assert [record.getMessage()[:6] for record in caplog.records] == ["x.dcm:"]
