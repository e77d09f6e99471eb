"""IU X-Ray in whichever of its layouts a folder has."""

from collections.abc import Sequence
from pathlib import Path

from xrj.datamodules import kaggle, openi, r2gen
from xrj.datamodules.labels import LabelRule
from xrj.datamodules.records import Collection
from xrj.errors import DataError


def read_iu_xray(root: Path, rules: Sequence[LabelRule], *, max_broken: float) -> Collection:
    """Detect the layout of `root` (R2Gen, Kaggle, Open-i, in this order) and read it.

    Args:
        root: The data set's folder, or an archive of Open-i reports.
        rules: Label rules over MeSH major terms.
        max_broken: Share of broken files that is passed over.

    Raises:
        DataError: No layout fits, or its reader raised it.
    """
    if (root / r2gen.ANNOTATION).is_file():
        return r2gen.read(root, rules, max_broken=max_broken)
    if (root / kaggle.REPORTS).is_file():
        return kaggle.read(root, rules, max_broken=max_broken)
    if openi.has_reports(root):
        return openi.read(root, rules, max_broken=max_broken)
    raise DataError(
        f"{root}: no IU X-Ray data (looked for {r2gen.ANNOTATION}, {kaggle.REPORTS}, "
        f"{openi.REPORT_FOLDER}/ and {openi.REPORT_ARCHIVE}); "
        "set data.root or run python -m xrj.datamodules.download"
    )
