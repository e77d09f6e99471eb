"""The Open-i layout of IU X-Ray: report XMLs, in a folder or an archive, and PNGs."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError, TreeBuilder
from xml.parsers import expat

from xrj.datamodules.archives import is_litter, reading, safe_members
from xrj.datamodules.collect import collect
from xrj.datamodules.labels import LabelRule
from xrj.datamodules.paths import PICTURES
from xrj.datamodules.records import Collection, Counts, Report
from xrj.datamodules.text import normal
from xrj.datamodules.views import resolve_views
from xrj.errors import DataError

REPORT_FOLDER = "ecgen-radiology"
REPORT_ARCHIVE = "NLMCXR_reports.tgz"
IMAGE_FOLDERS = ("NLMCXR_png", "images", ".")
_MAX_XML_BYTES = 4 * 2**20


def read(
    root: Path, rules: Sequence[LabelRule], *, max_broken: float, require_images: bool = True
) -> Collection:
    """Read reports and images.

    Args:
        root: Folder with `ecgen-radiology/*.xml` or `NLMCXR_reports.tgz` and `NLMCXR_png/*.png`;
            or the archive itself, with the PNG folder beside it.
        rules: Label rules over MeSH major terms.
        max_broken: Share of broken XMLs, and of missing PNGs, that is passed over.
        require_images: False counts images that the reports name, whether or not their files are
            there.

    Raises:
        DataError: See `read_reports` and `collect`.
    """
    counts = Counts()
    reports = read_reports(root, counts, max_broken=max_broken)
    folder = root if root.is_dir() else root.parent
    files = _image_files(folder, counts)
    views = resolve_views((report.image_ids for report in reports), counts.notes, folder)
    find = files.get if require_images else lambda image_id: Path(f"{image_id}.png")
    return collect(root, reports, rules, views, find, max_broken=max_broken, counts=counts)


def has_reports(root: Path) -> bool:
    """Say whether `root` holds, or is, Open-i reports."""
    return root.is_file() or (root / REPORT_FOLDER).is_dir() or (root / REPORT_ARCHIVE).is_file()


def read_reports(root: Path, counts: Counts, *, max_broken: float) -> list[Report]:
    """Read all reports, sorted by number.

    Args:
        root: As in `read`.
        counts: Gets a line for each broken file, and the numbers of these and of passed-over ones.
        max_broken: Share of broken files that is passed over.

    Raises:
        DataError: There are none, more than the share `max_broken` is broken, or two have one id.
    """
    reports: dict[str, Report] = {}
    broken = []
    number = 0
    passed_over: list[str] = []
    for name, data in _report_files(root, passed_over):
        number += 1
        try:
            if isinstance(data, DataError):
                raise data
            report = parse_report(data)
            if report.uid in reports:
                raise DataError(f"second report with the id {report.uid}")
            reports[report.uid] = report
        except DataError as error:
            broken.append(f"{name}: {error}")
    if not number:
        raise DataError(
            f"{root}: no report XML found; expected {REPORT_FOLDER}/*.xml or {REPORT_ARCHIVE}"
        )
    if len(broken) > max_broken * number:
        raise DataError(
            f"{broken[0]} ({len(broken):,} of {number:,} reports are broken; "
            "mend them or raise data.max_broken)"
        )
    counts.skipped += broken
    counts.details.append(("broken report files", len(broken)))
    if passed_over:
        counts.details.append(("files of macOS or Windows among the reports", len(passed_over)))
    return sorted(reports.values(), key=lambda report: (len(report.uid), report.uid))


def _report_files(
    root: Path, passed_over: list[str]
) -> Iterator[tuple[str, bytes | DataError | None]]:
    """Yield (name, bytes) of each report; None for one that is too large to be a report."""
    if (root / REPORT_FOLDER).is_dir():
        for path in sorted((root / REPORT_FOLDER).iterdir()):
            if is_litter(path.name):
                passed_over.append(str(path))
            elif path.suffix.lower() == ".xml":
                yield str(path), _read(path)
        return
    archive = root if root.is_file() else root / REPORT_ARCHIVE
    for name, size, stream in safe_members(archive, passed_over):
        if name.lower().endswith(".xml"):
            with reading(archive):
                data = stream.read() if size <= _MAX_XML_BYTES else None
            yield f"{archive}/{name}", data


def _read(path: Path) -> bytes | DataError | None:
    try:
        return path.read_bytes() if path.stat().st_size <= _MAX_XML_BYTES else None
    except OSError as error:
        return DataError(f"cannot be read ({error.strerror})")


def _image_files(folder: Path, counts: Counts) -> dict[str, Path]:
    """Return the pictures of a data set by their name without suffix, PNG before JPEG."""
    files: dict[str, Path] = {}
    passed_over = 0
    for name in IMAGE_FOLDERS:
        its = sorted((folder / name).iterdir()) if (folder / name).is_dir() else []
        passed_over += sum(is_litter(path.name) for path in its)
        for suffix in PICTURES:
            for path in its:
                if path.suffix.lower() == suffix and not is_litter(path.name) and path.is_file():
                    files.setdefault(normal(path.stem), path)
    if passed_over:
        counts.details.append(("files of macOS or Windows among the images", passed_over))
    return files


def parse_report(data: bytes | None) -> Report:
    """Parse a report without expanding entities.

    Findings are the FINDINGS section and nothing else. The report's number is the patient's: no
    patient has two reports.

    Raises:
        DataError: Malformed, too large, with a document type declaration, or without an id; the
            reason only, for the caller to put the file's name before.
    """
    if data is None:
        raise DataError(f"larger than {_MAX_XML_BYTES:,} bytes, which no report is")
    root = _parse_xml(data)
    uid = root.find("uId")
    name = normal(uid.get("id", "")).strip() if uid is not None else ""
    if not name:
        raise DataError("no report id (uId)")
    sections: dict[str, list[str]] = {}
    for element in root.iter("AbstractText"):
        text = " ".join(normal("".join(element.itertext())).split())
        if text:
            sections.setdefault(element.get("Label", "").upper(), []).append(text)
    return Report(
        uid=name,
        patient_id=name.removeprefix("CXR"),
        findings=" ".join(sections.get("FINDINGS", ())),
        impression=" ".join(sections.get("IMPRESSION", ())),
        mesh=tuple(
            t for term in root.iterfind("MeSH/major") if (t := normal(term.text or "").strip())
        ),
        image_ids=tuple(
            dict.fromkeys(normal(i) for e in root.iter("parentImage") if (i := e.get("id")))
        ),
    )


def _parse_xml(data: bytes) -> Element:
    def refuse(*_: object) -> None:
        raise DataError("has a document type declaration (it may define entities that expand)")

    builder = TreeBuilder()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(data, True)
        return builder.close()
    except (expat.ExpatError, ParseError, ValueError, LookupError) as error:
        raise DataError(f"malformed XML ({error})") from error
