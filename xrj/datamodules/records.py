"""The records that pass from a source to the table, and the counts of what each filter leaves."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

PAPER_IMAGES = 2446
PAPER_CAPTIONS = 4725
PAPER_SHARES = {"normal": 0.84, "cardiomegaly": 0.16}


@dataclass(frozen=True)
class Report:
    """One radiology report.

    Attributes:
        uid: The report's id, such as `CXR7`.
        patient_id: The patient; in IU X-Ray the report number, as no patient has two reports.
        findings: Text of the FINDINGS section and of nothing else; empty when there is none.
        impression: Text of the IMPRESSION section, empty when there is none.
        mesh: MeSH major terms as written, such as `Cardiomegaly/mild`.
        image_ids: Ids of its images, in the order of the report.
        split: The split that the source itself prescribes (`train`, `val` or `test`).
        label: The label that the source itself states, instead of one by rule over `mesh`.
    """

    uid: str
    patient_id: str
    findings: str
    impression: str
    mesh: tuple[str, ...]
    image_ids: tuple[str, ...]
    split: str | None = None
    label: str | None = None


@dataclass(frozen=True)
class ImageRecord:
    """One image of a labelled report with findings.

    Attributes:
        view: `frontal`, `lateral` or `unknown`.
        view_position: `PA`, `AP`, `L` or empty when only the kind of view is known.
    """

    image_id: str
    path: Path
    patient_id: str
    report_uid: str
    view: str
    label: str
    findings: str
    split: str | None = None
    view_position: str = ""


@dataclass(frozen=True)
class TextRecord:
    """The findings of a report that has none of the labels: text for the autoencoder only."""

    report_uid: str
    patient_id: str
    findings: str
    split: str | None = None


@dataclass
class Counts:
    """What each filter leaves, in order, beside the figures of the paper (section 4.1).

    Attributes:
        steps: (what is left, reports, images) after each filter.
        details: (what, how many): skipped files, where views come from, sentences dropped.
        skipped: One line for each file or row left out: its name and the reason.
        captions: Captions over all images of the table.
        labels: Images of the table by label.
        other: Labels that occur in the source and that the configuration does not name.
        vocabulary: Words in the vocabulary.
        out_of_vocabulary: Share of the words in the training captions that it does not hold.
        notes: Lines on what was guessed in reading, and what harms measures or training.
    """

    steps: list[tuple[str, int, int]] = field(default_factory=list)
    details: list[tuple[str, int]] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    captions: int = 0
    labels: dict[str, int] = field(default_factory=dict)
    other: dict[str, int] = field(default_factory=dict)
    vocabulary: int = 0
    out_of_vocabulary: float = 0.0
    notes: list[str] = field(default_factory=list)

    def step(self, name: str, images: Iterable[ImageRecord]) -> None:
        """Append a filter step that leaves `images`."""
        kept = list(images)
        self.steps.append((name, len({image.report_uid for image in kept}), len(kept)))

    def table(self) -> str:
        """Return all counts as plain text, the paper's figures in the last column."""
        total = sum(self.labels.values())
        per_image = f"{self.captions / total:.2f}" if total else "-"
        rows = [("after each filter", "reports", "images", "paper")]
        rows += [(name, f"{reports:,}", f"{images:,}", "") for name, reports, images in self.steps]
        if self.labels:
            rows += [("in the table", "", "", "")]
            rows += [("  images", "", f"{total:,}", f"{PAPER_IMAGES:,}")]
            rows += [("  captions", "", f"{self.captions:,}", f"{PAPER_CAPTIONS:,}")]
            rows += [("  captions an image", "", per_image, f"{PAPER_CAPTIONS / PAPER_IMAGES:.2f}")]
        for label, number in self.labels.items():
            share = PAPER_SHARES.get(label)
            ours = f"{number:,} ({number / total:.1%})" if total else "0"
            rows.append((f"  {label}", "", ours, "" if share is None else f"{share:.0%}"))
        rows += [("  words in the vocabulary", "", f"{self.vocabulary:,}", "")]
        rows += [("  training words out of it", "", f"{self.out_of_vocabulary:.1%}", "")]
        rows += [("of which, or beside it", "", "", "")]
        rows += [(f"  {name}", "", f"{number:,}", "") for name, number in self.details]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        lines = [
            (
                f"{row[0]:<{widths[0]}}" + "".join(f"  {row[c]:>{widths[c]}}" for c in (1, 2, 3))
            ).rstrip()
            for row in rows
        ]
        return "\n".join(lines + [f"warning: {note}" for note in self.notes])

    def left(self) -> str:
        """Return in one line what each filter leaves, for the error that nothing is left."""
        return ", ".join(f"{name} {images:,}" for name, _, images in self.steps)


@dataclass
class Collection:
    """What a source yields: images with label and findings, texts without label, the counts."""

    images: list[ImageRecord]
    texts: list[TextRecord]
    counts: Counts
