"""Data sets that make whole batches, each item from (seed, epoch, index) alone.

A loader with `batch_size=None` hands them the lists that `EpochBatchSampler` yields.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
import torch
from torch.utils.data import Dataset

from xrj.datamodules.cache import ImageCache
from xrj.datamodules.captions import make_captions
from xrj.datamodules.sampler import Item
from xrj.datamodules.table import CaptionRules
from xrj.datamodules.telling import telling_captions
from xrj.datamodules.transforms import Augmentation
from xrj.datamodules.vocabulary import PAD, Vocabulary
from xrj.errors import DataError
from xrj.seeding import derive, numpy_rng

Batch = dict[str, torch.Tensor]
Wrong = Literal["other_label", "mixed"]


def pad(sequences: Sequence[Sequence[int]]) -> torch.Tensor:
    """Return int64 (B, T), each sequence padded with `PAD` to the longest."""
    tokens = np.full((len(sequences), max(map(len, sequences))), PAD, dtype=np.int64)
    for row, sequence in enumerate(sequences):
        tokens[row, : len(sequence)] = sequence
    return torch.from_numpy(tokens)


class CaptionDataset(Dataset[Batch]):
    """Captions of distinct reports, for the autoencoder; one item a caption.

    Args:
        frame: Columns report_uid, label (None for a report without), sentences, captions.
        vocabulary: Turns captions into tokens.
        seed: Seed of the recombination.
        recombine: Make a caption anew each time by these rules, from the report's sentences in
            random order (the paper, 4.1, recombines once); None gives the fixed captions.
    """

    def __init__(
        self,
        frame: pd.DataFrame,
        vocabulary: Vocabulary,
        seed: int,
        recombine: CaptionRules | None,
    ) -> None:
        self.vocabulary = vocabulary
        self.seed = seed
        self.recombine = recombine
        self.items: list[tuple[str | None, list[list[str]], list[str]]] = [
            (label, sentences, caption)
            for label, sentences, captions in zip(
                *(
                    frame.drop_duplicates("report_uid")[name]
                    for name in ("label", "sentences", "captions")
                ),
                strict=True,
            )
            for caption in captions
        ]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, batch: Sequence[Item]) -> Batch:
        """Return {"tokens": int64 (B, T)}: label, words, end, padding."""
        return {"tokens": pad([self._tokens(epoch, index) for epoch, index in batch])}

    def _tokens(self, epoch: int, index: int) -> list[int]:
        label, sentences, caption = self.items[index]
        if self.recombine:
            rng = numpy_rng(self.seed, "recombine", epoch, index)
            shuffled = [sentences[place] for place in rng.permutation(len(sentences))]
            rules = self.recombine
            made = make_captions(shuffled, rules.min_words, rules.max_words, rules.max_captions)
            caption = made[rng.integers(len(made))] if made else caption
        return self.vocabulary.encode(label, caption)


class ImageDataset(Dataset[Batch]):
    """X-rays of one split, each with a caption of its own and a wrong one.

    Args:
        frame: Columns label, captions, sentences, row (in the cache) and index (in the table) of
            the split.
        vocabulary: Turns captions into tokens.
        cache: The images.
        seed: Seed of crop, caption and wrong caption.
        augmentation: Random crop of the training split; None gives the middle of each image, its
            first caption and always the same wrong caption.
        wrong: `other_label` takes the wrong caption from an image with another label, `mixed`
            does so half of the time and else takes a different caption of the same label.
        telling: Share of the training items that take the caption of `telling_captions`; the others
            take any caption of the image.
        max_words: Of a caption of `telling_captions`.

    Raises:
        DataError: No caption is wrong for some image, since it has all that there are.
    """

    def __init__(
        self,
        frame: pd.DataFrame,
        vocabulary: Vocabulary,
        cache: ImageCache,
        seed: int,
        augmentation: Augmentation | None,
        wrong: Wrong,
        telling: float,
        max_words: int,
    ) -> None:
        self.cache = cache
        self.seed = seed
        self.augmentation = augmentation
        self.wrong = wrong
        self.rows = frame["row"].to_numpy(np.int64)
        self.index = frame["index"].to_numpy(np.int64)
        self.labels = frame["label"].map(vocabulary.labels.index).to_numpy(np.int64)
        self.captions = [
            [vocabulary.encode(label, words) for words in captions]
            for label, captions in zip(frame["label"], frame["captions"], strict=True)
        ]
        self.telling = telling if augmentation is not None else 0.0
        if self.telling:
            labels = frame["label"].tolist()
            captions = telling_captions(frame["sentences"].tolist(), labels, max_words)
            self.told = list(map(vocabulary.encode, labels, captions))
        sets = [set(map(tuple, captions)) for captions in self.captions]
        if len(set().union(*sets)) == max(map(len, sets)):
            raise DataError(
                "data.split: one X-ray has every caption of its split, so none is wrong for it; "
                "add reports or change the split"
            )
        self.same = {
            label: np.flatnonzero(self.labels == label) for label in set(self.labels.tolist())
        }
        self.other = {label: np.flatnonzero(self.labels != label) for label in self.same}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, batch: Sequence[Item]) -> Batch:
        """Return the batch.

        Returns:
            "image": uint8 (B, R, R); "tokens" and "wrong_tokens": int64 (B, T), each with its own
            T; "label": int64 (B,), from 0; "index": int64 (B,), rows of the table.
        """
        places = np.array([index for _, index in batch])
        if self.augmentation is None:
            images = np.ascontiguousarray(self.cache.centre(self.rows[places]))
            batch = [(0, index) for _, index in batch]
        else:
            stored = self.cache.array[self.rows[places]]
            seeds = [derive(self.seed, "augment", epoch, index) for epoch, index in batch]
            images = np.stack(
                [self.augmentation(image, s) for image, s in zip(stored, seeds, strict=True)]
            )
        pairs = [self._captions(epoch, index) for epoch, index in batch]
        return {
            "image": torch.from_numpy(images),
            "tokens": pad([right for right, _ in pairs]),
            "wrong_tokens": pad([wrong for _, wrong in pairs]),
            "label": torch.from_numpy(self.labels[places]),
            "index": torch.from_numpy(self.index[places]),
        }

    def _captions(self, epoch: int, index: int) -> tuple[list[int], list[int]]:
        """Return the tokens of a caption of this image and of one that is wrong for it."""
        rng = numpy_rng(self.seed, "captions", epoch, index)
        own = self.captions[index]
        right = own[0 if self.augmentation is None else rng.integers(len(own))]
        label = int(self.labels[index])
        if self.telling and rng.random() < self.telling:
            right = self.told[index]
        sources = [self.other[label], self.same[label]]
        if self.wrong == "mixed" and rng.random() < 0.5:
            sources.reverse()
        for rows in sources:
            start = rng.integers(len(rows)) if len(rows) else 0
            for step in range(len(rows)):
                row = rows[(start + step) % len(rows)]
                options = [caption for caption in self.captions[row] if caption not in own]
                if options:
                    return right, options[rng.integers(len(options))]
        raise AssertionError("the constructor has seen to it that each image has a wrong caption")
