"""Small data sets in the layouts that the readers know."""

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

FINDINGS = "The heart is normal in size. The lungs are clear. No pleural effusion or pneumothorax."
LARGE = "The heart is enlarged. No focal consolidation. There is no large pleural effusion."


def report_xml(
    uid: str,
    findings: str | None = FINDINGS,
    mesh: Sequence[str] | None = ("normal",),
    image_ids: Sequence[str] = (),
    prologue: str = "",
) -> bytes:
    sections = '<AbstractText Label="INDICATION">Cough.</AbstractText>'
    if findings is not None:
        sections += f'<AbstractText Label="FINDINGS">{findings}</AbstractText>'
    sections += '<AbstractText Label="IMPRESSION">No acute disease.</AbstractText>'
    terms = "".join(f"<major>{term}</major>" for term in mesh or ())
    images = "".join(
        f'<parentImage id="{image_id}"><caption>x</caption></parentImage>' for image_id in image_ids
    )
    return (
        f'<?xml version="1.0" encoding="utf-8"?>{prologue}<eCitation><uId id="{uid}"/>'
        f"<MedlineCitation><Article><Abstract>{sections}</Abstract></Article></MedlineCitation>"
        + (f"<MeSH>{terms}<automatic>hearts</automatic></MeSH>" if mesh is not None else "")
        + f"{images}</eCitation>"
    ).encode()


def two_images(number: int) -> tuple[str, str]:
    return f"CXR{number}_IM-9{number:03d}-1001", f"CXR{number}_IM-9{number:03d}-2001"


def write_openi(root: Path, number: int = 20, reports: Mapping[str, bytes] | None = None) -> Path:
    """Write reports with a frontal and a lateral image each; every fourth has cardiomegaly."""
    folder = root / "ecgen-radiology"
    folder.mkdir(parents=True)
    (root / "NLMCXR_png").mkdir()
    rows = ["uid,filename,projection"]
    for index in range(1, number + 1):
        large = index % 4 == 0
        ids = two_images(index)
        text, mesh = (LARGE, ["Cardiomegaly/mild"]) if large else (FINDINGS, ["normal"])
        (folder / f"{index}.xml").write_bytes(report_xml(f"CXR{index}", text, mesh, ids))
        for image_id, projection in zip(ids, ("Frontal", "Lateral"), strict=True):
            rows.append(f"{index},{image_id}.png,{projection}")
            (root / "NLMCXR_png" / f"{image_id}.png").write_bytes(b"png")
    for name, data in (reports or {}).items():
        (folder / name).write_bytes(data)
    (root / "projections.csv").write_text("\n".join(rows) + "\n")
    return root


def write_archive(
    path: Path, members: Mapping[str, bytes], links: Mapping[str, str] | None = None
) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return path


def write_annotation(root: Path, items: Mapping[str, Sequence[Mapping[str, object]]]) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "annotation.json").write_text(json.dumps(items))
    for entries in items.values():
        for entry in entries:
            for name in entry["image_path"]:
                path = root / "images" / str(name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"png")
    return root
