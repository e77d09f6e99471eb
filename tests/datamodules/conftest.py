"""Tiny data in the layout of Open-i, and a datamodule over it."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from xrj.datamodules.datamodule import IUXRayDataModule

NORMAL = (
    "The heart is normal in size. The lungs are clear bilaterally number {0}. No pleural effusion "
    "or pneumothorax is seen. The mediastinum is unremarkable today. The bony structures are "
    "intact number {0}."
)
LARGE = (
    "The heart is moderately enlarged number {0}. The lungs are clear without consolidation. "
    "There is mild vascular congestion in both lungs. No large effusion is identified. "
    "Degenerative changes of the spine number {0}."
)
OTHER = (
    "There is a calcified granuloma in the right lung {0}. The heart size is normal. "
    "No acute disease is seen today."
)
STUDIES = (
    (LARGE, "Cardiomegaly/mild"),
    (NORMAL, "normal"),
    (OTHER, "Granuloma/lung"),
    (NORMAL, "normal"),
)

XML = """<?xml version="1.0"?>
<eCitation><pmcId id="{number}"/><uId id="CXR{number}"/>
<MedlineCitation><Article><Abstract>
<AbstractText Label="FINDINGS">{findings}</AbstractText>
<AbstractText Label="IMPRESSION">None.</AbstractText>
</Abstract></Article></MedlineCitation>
<MeSH><major>{mesh}</major></MeSH>
<parentImage id="CXR{number}_IM-0001-1001"><caption>Xray Chest PA</caption></parentImage>
</eCitation>
"""


def xray(number: int, side: int = 96) -> np.ndarray:
    """A picture whose left half is dark and whose right half is bright, distinct by number."""
    rng = np.random.default_rng(number)
    image = rng.integers(0, 60, (side, side), dtype=np.uint8)
    image[:, side // 2 :] += 150
    return image


def write_openi(root: Path, reports: int = 60) -> Path:
    """Write reports: half normal, a quarter with a large heart, a quarter with neither."""
    (root / "ecgen-radiology").mkdir(parents=True)
    (root / "NLMCXR_png").mkdir()
    lines = ["uid,filename,projection"]
    for number in range(1, reports + 1):
        text, mesh = STUDIES[number % 4]
        xml = XML.format(number=number, findings=text.format(number), mesh=mesh)
        (root / "ecgen-radiology" / f"{number}.xml").write_text(xml)
        name = f"CXR{number}_IM-0001-1001.png"
        lines.append(f"{number},{name},Frontal")
        cv2.imwrite(str(root / "NLMCXR_png" / name), xray(number))
    (root / "indiana_projections.csv").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="session")
def openi_root(tmp_path_factory) -> Path:
    return write_openi(tmp_path_factory.mktemp("openi") / "data")


@pytest.fixture
def make_datamodule(openi_root, tmp_path):
    def make(**changes) -> IUXRayDataModule:
        arguments = {
            "source": "iu_xray",
            "root": str(openi_root),
            "csv": None,
            "phantom": {"reports": 12, "seed": 1, "size": 96, "cardiomegaly": 0.4, "other": 0.2},
            "labels": [
                {"name": "normal", "only": ["normal"]},
                {"name": "cardiomegaly", "any": ["cardiomegaly"]},
            ],
            "captions": {"min_words": 5, "max_words": 15, "max_per_image": 4, "min_count": 1},
            "split": {"fractions": [0.6, 0.2, 0.2], "seed": 0, "file": None},
            "cache_dir": str(tmp_path / "cache"),
            "small": 16,
            "large": 32,
            "margin": 0.25,
            "content": "images",
            "resolution": 16,
            "batch_size": 4,
            "seed": 7,
            "num_workers": 0,
            "augmentations": {},
            "wrong": "other_label",
            "balance_labels": False,
            "telling": 0.0,
            "use_unlabelled_text": True,
            "recombine": True,
            "max_broken": 0.1,
            "download": False,
        }
        return IUXRayDataModule(**(arguments | changes))

    return make
