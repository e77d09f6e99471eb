"""From reports and image files to a collection: labels, findings, views, files, each counted."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from xrj.datamodules.labels import LabelRule, assign, match_labels, one_each
from xrj.datamodules.records import Collection, Counts, ImageRecord, Report, TextRecord
from xrj.datamodules.text import listed, short
from xrj.datamodules.views import View
from xrj.errors import DataError


def collect(
    source: Path,
    reports: Sequence[Report],
    rules: Sequence[LabelRule],
    views: Mapping[str, View],
    find_image: Callable[[str], Path | None],
    *,
    max_broken: float,
    counts: Counts,
) -> Collection:
    """Apply the filters of the paper (4.1) in order and count what each leaves.

    Args:
        source: Named in errors.
        reports: All reports; a report's own label goes before the rules.
        rules: Label rules.
        views: View of each image id.
        find_image: Path of an image id, None when the file is missing.
        max_broken: Share of missing image files that is passed over.
        counts: Goes on with what the source has counted.

    Raises:
        DataError: No image is left, one is named by two reports, or more files are missing than
            `max_broken` allows.
    """
    counts.steps.append(("reports read", len(reports), sum(len(r.image_ids) for r in reports)))
    owners: dict[str, str] = {}
    for report in reports:
        for image_id in report.image_ids:
            if (owner := owners.setdefault(image_id, report.uid)) != report.uid:
                raise DataError(
                    f"{source}: the image '{short(image_id)}' is named by the reports "
                    f"'{short(owner)}' and '{short(report.uid)}'; keep one of them"
                )
    names = [rule.name for rule in rules]
    stated = Counter(report.label for report in reports if report.label)
    chosen = match_labels(source, stated, names, counts)
    labels = {
        report.uid: chosen.get(report.label) if report.label else assign(report.mesh, rules)
        for report in reports
    }
    heads = [term.split("/")[0] for r in reports if not labels[r.uid] for term in r.mesh]
    counts.other |= Counter(heads)
    labelled = [report for report in reports if labels[report.uid]]
    with_findings = [report for report in labelled if report.findings]
    texts = [
        TextRecord(r.uid, r.patient_id, r.findings, r.split)
        for r in reports
        if not labels[r.uid] and r.findings
    ]
    images = []
    for report in with_findings:
        for image_id in report.image_ids:
            view = views[image_id]
            path = find_image(image_id)
            images.append(
                ImageRecord(
                    image_id=image_id,
                    path=path or Path(image_id),
                    patient_id=report.patient_id,
                    report_uid=report.uid,
                    view=view.kind,
                    label=str(labels[report.uid]),
                    findings=report.findings,
                    split=report.split,
                    view_position=view.position if view.position != "F" else "",
                )
            )
    frontal = [image for image in images if image.view == "frontal"]
    present = [image for image in frontal if find_image(image.image_id) is not None]
    absent = [image.image_id for image in frontal if find_image(image.image_id) is None]
    number = sum(len(report.image_ids) for report in labelled)
    counts.steps.append(("with one of the labels", len(labelled), number))
    counts.steps.append(("with findings", len(with_findings), len(images)))
    counts.step("frontal view", frontal)
    counts.step("image file present", present)
    for rule in rules:
        its = [report for report in labelled if labels[report.uid] == rule.name]
        counts.details.append((f"reports labelled {rule.name}", len(its)))
        counts.details.append(("  of these with findings", sum(bool(r.findings) for r in its)))
    counts.details.append(("reports without label, with findings", len(texts)))
    for lacking, uids in (
        ("findings", [report.uid for report in reports if not report.findings]),
        ("MeSH terms", [report.uid for report in reports if not (report.mesh or report.label)]),
    ):
        counts.details.append((f"reports without {lacking}", len(uids)))
        counts.skipped += [f"{uid}: report without {lacking}" for uid in uids]
    for view_source, number in sorted(Counter(views[image.image_id] for image in images).items()):
        name = view_source.position or "unknown"
        counts.details.append((f"view {name}, by {view_source.source or 'nothing'}", number))
    counts.skipped += [f"{image_id}: image file is missing" for image_id in absent]
    if len(absent) > max_broken * len(frontal):
        raise DataError(
            f"{source}: {len(absent):,} of {len(frontal):,} image files are missing, "
            f"such as {short(absent[0])}; complete the folder or raise data.max_broken"
        )
    if not present:
        refuse_nothing(source, counts, names, Counter(view.position for view in views.values()))
    return Collection(present, texts, counts)


def refuse_nothing(
    source: Path, counts: Counts, labels: Sequence[str], views: Mapping[str, int]
) -> NoReturn:
    """Say why no image is left: what each filter leaves, and what it found instead.

    Args:
        source: Named in the error.
        counts: All filter steps, the labels that occur, and what was skipped.
        labels: The names in the configuration.
        views: How often each view occurs, as written.

    Raises:
        DataError: Always.
    """
    step = next(name for name, _, images in counts.steps if not images)
    quoted = "; quote 'yes', 'no', 'on' and 'off' in YAML" if {"True", "False"} & {*labels} else ""
    why = {
        "with one of the labels": f"none of {', '.join(labels)} occurs, but "
        f"{listed(counts.other) or 'no label at all'}; change data.labels or the data{quoted}"
        f"{one_each(counts.other, labels)}",
        "with findings": "the findings are empty; fill them in",
        "frontal view": "no view is frontal, but "
        f"{listed({name or 'unknown': number for name, number in views.items()})}; state the views",
        "image file present": "no image file is there; add them",
    }.get(step, "no report names an image; complete the data")
    raise DataError(f"{source}: no image is left ({counts.left()}): {why}")
