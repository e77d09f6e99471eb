"""The LightningDataModule: from a source to batches, for all stages."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from torch.nn import functional as F

from xrj.datamodules import manifest
from xrj.datamodules.cache import ImageCache
from xrj.datamodules.datasets import Batch, CaptionDataset, ImageDataset, Wrong
from xrj.datamodules.download import download as fetch
from xrj.datamodules.images import UInt8, margin_size, to_tensor
from xrj.datamodules.labels import label_rules
from xrj.datamodules.phantom import VERSION as PHANTOM_VERSION
from xrj.datamodules.phantom import write_phantom
from xrj.datamodules.records import Collection
from xrj.datamodules.sampler import EpochBatchSampler, EpochLoader
from xrj.datamodules.sources import read_iu_xray
from xrj.datamodules.table import CaptionRules, Table, build_table
from xrj.datamodules.transforms import Augmentation
from xrj.datamodules.vocabulary import Vocabulary
from xrj.errors import ConfigError, DataError
from xrj.files import sha256_json
from xrj.seeding import numpy_rng

Split = Literal["train", "val", "test"]


class IUXRayDataModule(pl.LightningDataModule):
    """IU X-Ray, data in its layout, or a manifest of other X-rays; as captions or as images.

    Content "captions" gives {"tokens": int64 (B, T)}: label, words, end, padding 0. Content
    "images" gives

    * "image": float32 (B, 1, R, R) in [-1, 1], R = `resolution`;
    * "small": the same crop at `small` pixels, when `resolution` is `large`;
    * "tokens", "wrong_tokens": int64 (B, T), a caption of the image and one that is not;
    * "label": int64 (B,), place in `label_names`;
    * "index": int64 (B,), row of `table.images`.

    Every training item is a function of (seed, epoch, index): not of the worker, the rank or a
    resume. Validation and test take the middle of the image and its first caption.

    Args:
        source: `iu_xray` (Open-i, Kaggle or R2Gen layout), `phantom` or `manifest`.
        root: Folder of the data; for the phantom where it is written (None: inside `cache_dir`);
            of a manifest where its images' paths begin (None: the manifest's folder).
        csv: The manifest.
        phantom: Arguments of `phantom.write_phantom`: reports, seed, size,
            cardiomegaly, other, effusion.
        labels: Rules as `labels.label_rules` reads them.
        captions: min_words, max_words, max_per_image, min_count.
        split: fractions, seed, file (None, or a split file to use).
        cache_dir: Folder of the image caches.
        small: Pixels a side of stage I.
        large: Pixels a side of stage II.
        margin: Share by which cached images exceed the crop.
        content: `captions` or `images`.
        resolution: Pixels a side of the batches' images.
        batch_size: Items a batch and device.
        seed: Seed of order, crops, captions and wrong captions.
        num_workers: Loader processes.
        augmentations: Training transforms before the random crop, `_target_: albumentations.*`, by
            the name of the setting that they come from.
        wrong: `other_label` or `mixed`, see `datasets.ImageDataset`.
        balance_labels: Repeat images of rare labels in an epoch of training, as often as brings
            them closest to the most frequent one.
        telling: Share of the training images whose caption begins with the sentence that tells
            most of the label, see `telling_captions`; the others come with any of theirs.
        use_unlabelled_text: Train the autoencoder on reports without label, too.
        recombine: Make the autoencoder's captions anew each epoch.
        max_broken: Share of images that may be unreadable.
        download: Fetch IU X-Ray from Open-i to `root`, whose licence the user so accepts.

    Attributes:
        held: Whether training sees the items of the first epoch in all others, too.
    """

    def __init__(
        self,
        *,
        source: Literal["iu_xray", "phantom", "manifest"],
        root: str | None,
        csv: str | None,
        phantom: Mapping[str, Any],
        labels: Sequence[Mapping[str, Any]],
        captions: Mapping[str, int],
        split: Mapping[str, Any],
        cache_dir: str,
        small: int,
        large: int,
        margin: float,
        content: Literal["captions", "images"],
        resolution: int,
        batch_size: int,
        seed: int,
        num_workers: int,
        augmentations: Mapping[str, Sequence[Mapping[str, Any]]],
        wrong: Wrong,
        balance_labels: bool,
        telling: float,
        use_unlabelled_text: bool,
        recombine: bool,
        max_broken: float,
        download: bool,
    ) -> None:
        super().__init__()
        self.source = source
        self.phantom = dict(phantom)
        self.rules = label_rules(labels)
        self.caption_rules = CaptionRules(
            captions["min_words"], captions["max_words"], captions["max_per_image"]
        )
        self.min_count = captions["min_count"]
        self.split = dict(split)
        self.cache_dir = Path(cache_dir)
        self.small = small
        self.large = large
        self.margin = margin
        self.content = content
        self.resolution = resolution
        self.batch_size = batch_size
        self.seed = seed
        self.num_workers = num_workers
        self.augmentations = dict(augmentations)
        self.wrong: Wrong = wrong
        self.balance_labels = balance_labels
        self.telling = telling
        self.use_unlabelled_text = use_unlabelled_text
        self.recombine = recombine
        self.max_broken = max_broken
        self.download = download
        self.held = False
        self._table: Table | None = None
        self._caches: dict[int, ImageCache] = {}
        self.path = self._path(root, csv)
        self.folder = Path(root) if self.source == "manifest" and root is not None else None

    def _path(self, root: str | None, csv: str | None) -> Path:
        """Return the folder, or the manifest, that is read."""
        if self.source == "phantom" and root is None:
            return self.cache_dir / f"phantom-{sha256_json([PHANTOM_VERSION, self.phantom])[:16]}"
        flag, given = ("data.csv", csv) if self.source == "manifest" else ("data.root", root)
        if given is None:
            raise ConfigError(f"{flag}: data={self.source} needs it; give {flag}=PATH")
        return Path(given)

    # What the source holds

    def prepare_data(self) -> None:
        """Write the phantom or fetch the data, and fill the image cache; once a node.

        Raises:
            DataError: The source cannot be read, `root` holds another phantom, or too many images
                are broken.
        """
        if self.source == "phantom":
            write_phantom(self.path, **self.phantom)
        elif self.source == "iu_xray" and self.download:
            fetch(self.path, accept_licence=True, wait=True)
        if self.content == "images":
            self._cache(self.resolution)

    @property
    def table(self) -> Table:
        """All images and texts with captions and split; batches leave out unreadable images."""
        if self._table is None:
            self._table = build_table(
                self._collection(),
                labels=self.label_names,
                seed=self.split["seed"],
                fractions=tuple(self.split["fractions"]),
                min_count=self.min_count,
                rules=self.caption_rules,
                use_unlabelled_text=self.use_unlabelled_text,
                split_file=Path(self.split["file"]) if self.split.get("file") else None,
            )
        return self._table

    def _collection(self) -> Collection:
        if self.source == "manifest":
            return manifest.read(
                self.path, self.label_names, max_broken=self.max_broken, folder=self.folder
            )
        return read_iu_xray(self.path, self.rules, max_broken=self.max_broken)

    def _cache(self, resolution: int) -> ImageCache:
        if resolution not in self._caches:
            self._caches[resolution] = ImageCache.build(
                self.table.images["path"].tolist(),
                resolution,
                self.margin,
                self.cache_dir / "images",
                max_broken=self.max_broken,
            )
        return self._caches[resolution]

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the labels, in the order of their ids."""
        return tuple(rule.name for rule in self.rules)

    @property
    def vocabulary(self) -> Vocabulary:
        """Tokens of the captions."""
        return self.table.vocabulary

    @property
    def split_hash(self) -> str:
        """Hash of the patients of each split."""
        return self.table.split_hash

    # Rows of a split

    def _images(self, split: Split, resolution: int) -> tuple[ImageCache, pd.DataFrame]:
        """Return the cache and the readable images of a split, with their row and index."""
        cache = self._cache(resolution)
        frame = self.table.images
        row = np.arange(len(frame))
        keep = (frame["split"] == split).to_numpy() & ~np.isin(row, list(cache.broken))
        return cache, _some(frame.assign(row=row, index=row)[keep], split)

    def evaluation_images(
        self, split: Split, resolution: int, most: int | None = None
    ) -> tuple[UInt8, pd.DataFrame]:
        """Return a split as it is seen outside training; needs no Trainer.

        Args:
            split: `train`, `val` or `test`.
            resolution: Pixels a side.
            most: Of a larger split, take so many X-rays, always the same.

        Returns:
            Images (N, resolution, resolution), 0 to 255, and their rows of `table.images`.
        """
        cache, frame = self._images(split, resolution)
        if most is not None and len(frame) > most:
            chosen = numpy_rng(self.seed, "sample", split).choice(len(frame), most, replace=False)
            frame = frame.iloc[np.sort(chosen)]
        return cache.centre(frame["row"].to_numpy()), frame.drop(columns=["row", "index"])

    def caption_data(self, split: Split) -> CaptionDataset:
        """Return the captions of a split: fixed ones, or made anew for training."""
        frames = [self.table.images]
        if split == "train" and self.use_unlabelled_text:
            frames.append(self.table.texts.assign(label=None))
        frame = _some(pd.concat([frame[frame["split"] == split] for frame in frames]), split)
        anew = self.caption_rules if split == "train" and self.recombine else None
        return CaptionDataset(frame, self.vocabulary, self.seed, anew)

    def image_data(self, split: Split) -> ImageDataset:
        """Return the images of a split, augmented for training."""
        cache, frame = self._images(split, self.resolution)
        augmentation = None
        if split == "train":
            if self.balance_labels:
                counts = frame["label"].value_counts()
                times = frame["label"].map(counts.max() / counts).round().astype(int).to_numpy()
                frame = frame.iloc[np.repeat(np.arange(len(frame)), times)]
            size = margin_size(self.resolution, self.margin)
            transforms = [x for several in self.augmentations.values() for x in several]
            settings = [name for name, several in self.augmentations.items() for _ in several]
            augmentation = Augmentation(transforms, size, self.resolution, settings)
        return ImageDataset(
            frame,
            self.vocabulary,
            cache,
            self.seed,
            augmentation,
            self.wrong,
            self.telling,
            self.caption_rules.max_words,
        )

    # Batches

    def setup(self, stage: str) -> None:
        """Open the cache that `prepare_data` has filled."""
        if self.content == "images":
            self._cache(self.resolution)

    def train_dataloader(self) -> EpochLoader:
        """Return shuffled batches; the last short one is left out."""
        return self._loader("train")

    def val_dataloader(self) -> EpochLoader:
        """Return all of the validation split, always the same."""
        return self._loader("val")

    def test_dataloader(self) -> EpochLoader:
        """Return all of the test split, always the same."""
        return self._loader("test")

    def _loader(self, split: Split) -> EpochLoader:
        data = self.caption_data(split) if self.content == "captions" else self.image_data(split)
        # Ranks share an epoch of training; each measures on all of the other splits.
        trainer = self.trainer if split == "train" else None
        sampler = EpochBatchSampler(
            len(data),
            self.batch_size,
            seed=self.seed,
            shuffle=split == "train",
            rank=trainer.global_rank if trainer else 0,
            world_size=trainer.world_size if trainer else 1,
            drop_last=split == "train",
            held=self.held,
        )
        return EpochLoader(
            data,
            batch_size=None,
            sampler=sampler,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Turn uint8 images into floats on their device, and scale the crop to `small`."""
        if "image" in batch:
            batch["image"] = to_tensor(batch["image"])
            if self.resolution == self.large:
                batch["small"] = F.adaptive_avg_pool2d(batch["image"], self.small)
        return batch


def _some(frame: pd.DataFrame, split: Split) -> pd.DataFrame:
    if frame.empty:
        raise DataError(f"data.split: nothing is in {split}; add data or change the fractions")
    return frame
