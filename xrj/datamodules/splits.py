"""Patient-disjoint splits, stratified by label, in a file with a hash."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from xrj.datamodules.text import normal, short
from xrj.errors import ConfigError, DataError
from xrj.files import read_json, sha256_json, write_json
from xrj.seeding import numpy_rng

SPLITS = ("train", "val", "test")
_SPELLINGS = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validate": "val",
    "validation": "val",
    "test": "test",
}


@dataclass(frozen=True)
class Split:
    """Which split each patient is in.

    Attributes:
        patients: `train`, `val` or `test` of each patient.
        seed: What the split was drawn with; None when it was given.
        fractions: The shares that were asked for; None when it was given.
    """

    patients: Mapping[str, str] = field(repr=False)
    seed: int | None = None
    fractions: tuple[float, ...] | None = None

    @cached_property
    def hash(self) -> str:
        """SHA-256 over the patients of each split, whatever their order."""
        return sha256_json(dict(self.patients))

    def write(self, path: Path) -> None:
        """Write the split as JSON, atomically."""
        members = {
            split: sorted(patient for patient, its in self.patients.items() if its == split)
            for split in SPLITS
        }
        value = {"seed": self.seed, "fractions": self.fractions, "patients": members}
        write_json(path, {**value, "hash": self.hash})


def make_splits(
    patient_ids: Sequence[str],
    labels: Sequence[str | None],
    fractions: Sequence[float] = (0.8, 0.1, 0.1),
    *,
    seed: int,
) -> dict[str, str]:
    """Draw train, val and test patients, the same shares of each label in all three.

    A patient with several labels counts for the rarest of them; one with texts only (label None)
    is drawn apart, so that such texts leave the split of the images as it is. Three patients of a
    label suffice to have one of them in each split.

    Args:
        patient_ids: The patient of each image or text; a patient may come several times.
        labels: Its label, or None.
        fractions: Shares of train, val and test; their sum is 1.
        seed: Same seed, same split, in whatever order the patients come.

    Raises:
        ConfigError: The fractions are not three shares that sum to 1.
    """
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ConfigError(
            f"data.split.fractions: {list(fractions)} must be three shares that sum to 1"
        )
    numbers = Counter(label for label in labels if label is not None)
    stratum: dict[str, str | None] = {}
    for patient, label in zip(patient_ids, labels, strict=True):
        known = stratum.setdefault(patient, label)
        if label is not None and (
            known is None or (numbers[label], label) < (numbers[known], known)
        ):
            stratum[patient] = label
    patients: dict[str, str] = {}
    for label in sorted(set(stratum.values()), key=lambda name: (name is None, name or "")):
        members = sorted(patient for patient, its in stratum.items() if its == label)
        numpy_rng(seed, "split", "text" if label is None else f"label {label}").shuffle(members)
        least = 1 if len(members) >= 3 else 0
        number = len(members)
        for split, share in zip(("val", "test"), fractions[1:], strict=True):
            size = max(round(number * share), least if share else 0)
            patients.update(dict.fromkeys(members[:size], split))
            members = members[size:]
        patients.update(dict.fromkeys(members, "train"))
    return patients


def given_split(pairs: Iterable[tuple[str, str]], source: Path | str) -> Split:
    """Return the split that (patient, split) pairs of a source prescribe.

    Raises:
        DataError: A patient is in two splits, or a split has another name.
    """
    patients: dict[str, str] = {}
    for patient, name in pairs:
        split = _SPELLINGS.get(name.strip().lower())
        if split is None:
            raise DataError(
                f"{source}: unknown split '{short(name)}' of patient '{short(patient)}'; "
                "use train, val or test"
            )
        if patients.setdefault(patient, split) != split:
            raise DataError(
                f"{source}: patient '{short(patient)}' is in '{patients[patient]}' and '{split}'; "
                "put each patient in one split only"
            )
    return Split(patients)


def read_split_file(path: Path) -> Split:
    """Read a split that `Split.write` wrote, or one by hand: `{"patients": {"train": [...], ...}}`.

    Raises:
        DataError: Not such a file, a patient in two splits, or a hash that does not fit.
    """
    value = read_json(path)
    members = value.get("patients") if isinstance(value, dict) else None
    if not isinstance(members, dict) or not all(isinstance(ids, list) for ids in members.values()):
        raise DataError(
            f"{path}: not a split file; expected "
            '{"patients": {"train": [...], "val": [...], "test": [...]}}'
        )
    split = given_split(
        ((normal(str(p)), name) for name, ids in members.items() for p in ids), path
    )
    if value.get("hash", split.hash) != split.hash:
        raise DataError(
            f"{path}: the patients do not fit the stored hash; "
            "restore the file, or remove 'hash' from it to accept them"
        )
    return split
