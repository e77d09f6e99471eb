"""The table: one row an image, with sentences, captions and split; and the vocabulary over it."""

import argparse
from collections import Counter
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

import pandas as pd

from xrj.datamodules import openi
from xrj.datamodules.captions import make_captions, sentences
from xrj.datamodules.commands import run_command
from xrj.datamodules.labels import PAPER_RULES, one_each
from xrj.datamodules.records import Collection, Counts, ImageRecord, TextRecord
from xrj.datamodules.splits import SPLITS, Split, given_split, make_splits, read_split_file
from xrj.datamodules.text import listed
from xrj.datamodules.vocabulary import Vocabulary
from xrj.errors import DataError

IMAGE_COLUMNS = (
    *("image_id", "path", "patient_id", "report_uid", "view", "label"),
    *("sentences", "captions", "split"),
)
FEW = 10
"""X-rays of a label in a split below which a measure of it is rough."""
MOST_OUT_OF_VOCABULARY = 0.2
"""Share of training words out of the vocabulary above which the captions are said to suffer."""
TEXT_COLUMNS = ("report_uid", "patient_id", "sentences", "captions", "split")


@dataclass(frozen=True)
class CaptionRules:
    """How findings become captions (the paper, 4.1: 5 to 15 words, at most four captions)."""

    min_words: int
    max_words: int
    max_captions: int


@dataclass
class Table:
    """All that batches are made of; rebuilt from the source at each start, always the same.

    Attributes:
        images: Columns `IMAGE_COLUMNS`; `path` is a `Path`, `sentences` and `captions` are lists
            of word lists, `split` is `train`, `val` or `test`. Each row has at least one caption.
        texts: Columns `TEXT_COLUMNS`; reports without label; empty unless asked for.
        vocabulary: Labels and the frequent words of the training split.
        split: Split of each patient, of those with texts only, too.
        counts: What each filter left.
    """

    images: pd.DataFrame
    texts: pd.DataFrame
    vocabulary: Vocabulary
    split: Split
    counts: Counts

    def lacking(self, split: str) -> list[str]:
        """Labels that no image of a split has."""
        held = set(self.images.loc[self.images["split"] == split, "label"])
        return [label for label in self.vocabulary.labels if label not in held]

    @property
    def split_hash(self) -> str:
        """Hash of the patients of each split."""
        return self.split.hash


def build_table(
    collection: Collection,
    *,
    labels: Sequence[str],
    seed: int,
    fractions: Sequence[float],
    min_count: int,
    rules: CaptionRules,
    use_unlabelled_text: bool,
    split_file: Path | None = None,
) -> Table:
    """Turn a collection into the table.

    Args:
        collection: What a source has read.
        labels: Label names in the order of the vocabulary.
        seed: Of the split, when neither a file nor the source prescribes one.
        fractions: Shares of train, val and test.
        min_count: Words rarer than this in the training captions are out of vocabulary.
        rules: Caption rules.
        use_unlabelled_text: Keep the texts of reports without label, for the autoencoder.
        split_file: A split to use instead; it must name every patient.

    Raises:
        DataError: No image is left, none of a label is in training, or the split does not fit the
            patients.
    """
    split = _split(collection, seed, fractions, split_file)
    counts = deepcopy(collection.counts)
    made: dict[str, tuple[list[list[str]], list[list[str]]]] = {}

    def captions_of(findings: str) -> tuple[list[list[str]], list[list[str]]]:
        if findings not in made:
            found = sentences(findings)
            made[findings] = found, make_captions(found, **asdict(rules))
        return made[findings]

    used = [image for image in collection.images if captions_of(image.findings)[1]]
    counts.step("with a caption", used)
    images = pd.DataFrame(
        [
            (
                *(r.image_id, r.path, r.patient_id, r.report_uid, r.view, r.label),
                *captions_of(r.findings),
                split.patients[r.patient_id],
            )
            for r in used
        ],
        columns=IMAGE_COLUMNS,
    )
    if images.empty:
        raise DataError(
            f"no image has a caption of {rules.min_words} to {rules.max_words} words; "
            "check the findings and data.captions"
        )
    if idle := [label for label in labels if label not in set(images["label"])]:
        occurring = listed(counts.other | Counter(images["label"].tolist()))
        raise DataError(
            f"no image is labelled '{idle[0]}'; check data.labels: the labels that occur are "
            f"{occurring}{one_each(counts.other, labels)}"
        )
    if idle := [name for name in ("train", "val") if name not in set(images["split"])]:
        people = images.drop_duplicates("patient_id")["label"].tolist()
        raise DataError(
            f"no image is in the split '{idle[0]}'; check data.split.fractions, data.split.file or "
            f"the split that the data prescribe, or add patients (now {listed(Counter(people))}): "
            "three of a label suffice"
        )
    learnt = set(images.loc[images["split"] == "train", "label"])
    if idle := [label for label in labels if label not in learnt]:
        raise DataError(
            f"no image labelled '{idle[0]}' is in the split 'train', so none can be learnt; check "
            "data.split.file or the split that the data prescribe, or add images"
        )
    texts = pd.DataFrame(
        [
            (r.report_uid, r.patient_id, *captions_of(r.findings), split.patients[r.patient_id])
            for r in collection.texts
            if use_unlabelled_text and captions_of(r.findings)[1]
        ],
        columns=TEXT_COLUMNS,
    )
    train = [frame.loc[frame["split"] == "train", "captions"] for frame in (images, texts)]
    captions = list(chain.from_iterable(chain(*train)))
    vocabulary = Vocabulary.build(labels, captions, min_count)
    _count(counts, images, texts, labels, rules)
    _check_words(counts, vocabulary, captions, min_count)
    _check_labels(counts, images, labels, split)
    return Table(images, texts, vocabulary, split, counts)


def _split(
    collection: Collection, seed: int, fractions: Sequence[float], split_file: Path | None
) -> Split:
    """Return the split of the file, of the source, or of the seed, in this order."""
    records: list[ImageRecord | TextRecord] = [*collection.images, *collection.texts]
    patients = [record.patient_id for record in records]
    if split_file is not None:
        split = read_split_file(split_file)
        if absent := sorted(set(patients) - set(split.patients)):
            raise DataError(
                f"{split_file}: {len(absent):,} patients of the data are not in it, "
                f"such as '{absent[0]}'; "
                "add them or leave data.split.file out to draw a split"
            )
        return split
    given = [(record.patient_id, record.split) for record in records if record.split is not None]
    if given:
        return given_split(given, "the source's split")
    labels = [*(image.label for image in collection.images), *(None for _ in collection.texts)]
    return Split(make_splits(patients, labels, fractions, seed=seed), seed, tuple(fractions))


def _count(
    counts: Counts,
    images: pd.DataFrame,
    texts: pd.DataFrame,
    labels: Sequence[str],
    rules: CaptionRules,
) -> None:
    counts.captions = int(images["captions"].map(len).sum())
    numbers = images["label"].value_counts()
    counts.labels = {label: int(numbers.get(label, 0)) for label in labels}
    by_report = images.drop_duplicates("report_uid")
    found = list(chain.from_iterable(by_report["sentences"]))
    captions = list(chain.from_iterable(by_report["captions"]))
    counts.details += [
        ("patients", images["patient_id"].nunique()),
        *((f"images in {name}", int((images["split"] == name).sum())) for name in SPLITS),
        ("reports", len(by_report)),
        ("sentences of these reports", len(found)),
        (f"sentences cut at {rules.max_words} words", sum(len(s) > rules.max_words for s in found)),
        ("words of these reports", sum(map(len, found))),
        ("words in their captions", sum(map(len, captions))),
        ("captions of these reports", len(captions)),
        ("different captions", len({tuple(caption) for caption in captions})),
        ("texts without label", len(texts)),
        ("captions of texts without label", int(texts["captions"].map(len).sum())),
    ]


def _check_words(
    counts: Counts, vocabulary: Vocabulary, captions: Sequence[Sequence[str]], min_count: int
) -> None:
    """Count the words of the training captions that the vocabulary lacks, and note too many."""
    known, total = set(vocabulary.words), sum(map(len, captions))
    lacking = sum(word not in known for word in chain.from_iterable(captions))
    counts.vocabulary = len(known)
    counts.out_of_vocabulary = lacking / total if total else 0.0
    if counts.out_of_vocabulary > MOST_OUT_OF_VOCABULARY:
        counts.notes.append(
            f"the vocabulary holds {len(known):,} words and {counts.out_of_vocabulary:.0%} of the "
            "training captions' words are out of it, so captions and token accuracy say little; "
            f"lower data.captions.min_count (now {min_count}) or add reports"
        )


def _check_labels(
    counts: Counts, images: pd.DataFrame, labels: Sequence[str], split: Split
) -> None:
    """Note the labels of which validation or test holds no image, or too few to measure by."""
    remedy = (
        "add data or change the split that the data or data.split.file prescribe"
        if split.fractions is None
        else f"raise its share in data.split.fractions (now {list(split.fractions)}) or add data"
    )
    few: dict[str, int] = {}
    for name in ("val", "test"):
        numbers = Counter(images.loc[images["split"] == name, "label"].tolist())
        absent = ", ".join(f"'{label}'" for label in labels if not numbers[label])
        if numbers and absent:
            counts.notes.append(
                f"the split '{name}' has {sum(numbers.values()):,} X-rays and none labelled "
                f"{absent}, so balanced accuracy and AUROC are undefined there; {remedy}"
            )
        few |= {f"{label} in {name}": n for label, n in numbers.items() if n < FEW}
    if few:
        counts.notes.append(
            f"fewer than {FEW} X-rays of a label, so measures are rough: {listed(few)}; {remedy}"
        )


def main() -> None:
    """Print what each filter leaves of the Open-i reports, beside the paper; needs no images."""
    parser = argparse.ArgumentParser(
        prog="python -m xrj.datamodules.table", description=main.__doc__
    )
    parser.add_argument(
        "--reports", type=Path, required=True, help="NLMCXR_reports.tgz, or a folder that holds it"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the split")
    args = parser.parse_args()
    collection = openi.read(args.reports, PAPER_RULES, max_broken=0.01, require_images=False)
    table = build_table(
        collection,
        labels=[rule.name for rule in PAPER_RULES],
        seed=args.seed,
        fractions=(0.8, 0.1, 0.1),
        min_count=20,
        rules=CaptionRules(min_words=5, max_words=15, max_captions=4),
        use_unlabelled_text=True,
    )
    print(table.counts.table())
    print(f"vocabulary: {table.vocabulary.size:,} tokens, hash {table.vocabulary.hash[:16]}")
    print(f"split of seed {args.seed}: hash {table.split_hash[:16]}")


if __name__ == "__main__":
    run_command(main)
