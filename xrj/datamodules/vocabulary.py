"""The vocabulary shared by all stages: special tokens, labels, words."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from xrj.errors import DataError
from xrj.files import sha256_json

PAD, BOS, EOS, OOV, UNLABELLED = range(5)
SPECIALS = ("<pad>", "<bos>", "<eos>", "<oov>", "<unlabelled>")


@dataclass(frozen=True)
class Vocabulary:
    """Ids of tokens: five specials (padding is 0), then the labels, then the words.

    A label and a word with the same spelling are different tokens.

    Attributes:
        labels: Label names, in the order of the configuration.
        words: Words, most frequent first, ties in alphabetical order.
    """

    labels: tuple[str, ...]
    words: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check that no label and no word stands twice.

        Raises:
            DataError: One does.
        """
        for kind, names in (("label", self.labels), ("word", self.words)):
            if twice := [name for name, number in Counter(names).items() if number > 1]:
                raise DataError(f"vocabulary: the {kind} '{twice[0]}' stands twice; give each once")

    @classmethod
    def build(
        cls, labels: Sequence[str], captions: Iterable[Sequence[str]], min_count: int = 20
    ) -> "Vocabulary":
        """Keep the words that occur at least `min_count` times (the paper, 4.1: 20).

        Args:
            labels: Label names.
            captions: Word lists of the training split, and of no other.
            min_count: Rarer words become out-of-vocabulary markers.
        """
        counter = Counter(word for caption in captions for word in caption)
        frequent = [(-number, word) for word, number in counter.items() if number >= min_count]
        return cls(tuple(labels), tuple(word for _, word in sorted(frequent)))

    @cached_property
    def tokens(self) -> tuple[str, ...]:
        """All tokens as text, in the order of their ids."""
        return (*SPECIALS, *self.labels, *self.words)

    @property
    def size(self) -> int:
        """Number of ids."""
        return len(SPECIALS) + len(self.labels) + len(self.words)

    @property
    def label_ids(self) -> list[int]:
        """Ids of the labels, in their order."""
        return list(range(len(SPECIALS), len(SPECIALS) + len(self.labels)))

    @cached_property
    def _label_id(self) -> dict[str, int]:
        return {label: len(SPECIALS) + index for index, label in enumerate(self.labels)}

    @cached_property
    def _word_id(self) -> dict[str, int]:
        first = len(SPECIALS) + len(self.labels)
        return {word: first + index for index, word in enumerate(self.words)}

    def encode(self, label: str | None, words: Sequence[str]) -> list[int]:
        """Return [label id, word ids..., EOS]; None is the unlabelled token.

        Raises:
            DataError: The label is not one of the vocabulary's.
        """
        if label is not None and label not in self._label_id:
            known = ", ".join(self.labels)
            raise DataError(f"label '{label}' is not in the vocabulary; its labels are {known}")
        first = UNLABELLED if label is None else self._label_id[label]
        return [first, *(self._word_id.get(word, OOV) for word in words), EOS]

    def decode(self, ids: Iterable[int]) -> tuple[str | None, list[str]]:
        """Return label and words up to the first EOS; padding and BOS are passed over.

        The label is None when the first token is no label; a label further on, which only an
        untrained decoder writes, is shown in angle brackets and so never taken for a word.
        """
        label: str | None = None
        words: list[str] = []
        first = True
        for token in ids:
            token = int(token)
            if token == EOS:
                break
            if token in (PAD, BOS):
                continue
            is_label = len(SPECIALS) <= token < len(SPECIALS) + len(self.labels)
            if first and is_label:
                label = self.tokens[token]
            elif is_label:
                words.append(f"<{self.tokens[token]}>")
            elif not (first and token == UNLABELLED):
                words.append(self.tokens[token])
            first = False
        return label, words

    @cached_property
    def hash(self) -> str:
        """SHA-256 over labels and words in order."""
        return sha256_json(self.to_dict())

    def to_dict(self) -> dict[str, list[str]]:
        """Return the JSON form."""
        return {"labels": list(self.labels), "words": list(self.words)}

    @classmethod
    def from_dict(cls, value: Any) -> "Vocabulary":
        """Read the JSON form.

        Raises:
            DataError: It is not one.
        """
        lists = (
            [value.get(key) for key in ("labels", "words")] if isinstance(value, dict) else [None]
        )
        if not all(isinstance(x, list) and all(isinstance(n, str) for n in x) for x in lists):
            raise DataError(
                "vocabulary: expected the lists of strings 'labels' and 'words'; "
                "export the stage again"
            )
        return cls(tuple(value["labels"]), tuple(value["words"]))
