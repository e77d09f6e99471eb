"""The LightningDataModule of stage `segmenter`: X-rays with masks of heart and lungs."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.utils.data import Dataset

from xrj.datamodules.datamodule import IUXRayDataModule, Split
from xrj.datamodules.datasets import Batch
from xrj.datamodules.images import UInt8, read_image, resize, to_tensor
from xrj.datamodules.masks import MASKS, MaskRow, read_mask, read_masks
from xrj.datamodules.phantom import MASK_TABLE, write_phantom
from xrj.datamodules.records import Counts
from xrj.datamodules.sampler import EpochBatchSampler, EpochLoader, Item
from xrj.datamodules.splits import Split as Patients
from xrj.datamodules.splits import given_split, make_splits, read_split_file
from xrj.datamodules.table import IMAGE_COLUMNS, TEXT_COLUMNS, Table
from xrj.datamodules.transforms import Augmentation
from xrj.datamodules.vocabulary import Vocabulary
from xrj.errors import ConfigError, DataError
from xrj.files import sha256_json
from xrj.seeding import derive

PHANTOM_SPLIT = (0.9, 0.1, 0.0)
"""Of the phantoms beside a manifest's X-rays."""


class MaskDataModule(IUXRayDataModule):
    """X-rays of a manifest, or of the phantom, with masks of heart and lungs.

    Batches hold

    * "image": float32 (B, 1, R, R) in [-1, 1], R = `resolution`: the whole X-ray, squeezed;
    * "masks": float32 (B, 2, R, R), the share of each pixel that heart and lungs fill.

    Args:
        phantoms: Reports of a phantom whose pictures are added to a manifest's X-rays; a tenth of
            them goes to validation.
        **settings: Of `IUXRayDataModule`. Labels, captions and views are of no concern here.

    Raises:
        ConfigError: The source has no masks.
    """

    def __init__(self, *, phantoms: int, **settings: Any) -> None:
        if settings["source"] == "iu_xray":
            raise ConfigError(
                "data=iu_xray: has no masks of heart and lungs; give data=phantom, or "
                "data=manifest data.csv=FILE with columns image, heart, lungs"
            )
        super().__init__(**settings)
        self.phantoms = phantoms if self.source == "manifest" else 0
        self._rows: list[MaskRow] = []
        self._arrays: tuple[UInt8, UInt8] | None = None

    def prepare_data(self) -> None:
        """Write the phantoms; once a node.

        Raises:
            DataError: They cannot be written, or a mask or an X-ray cannot be read.
        """
        if self.source == "phantom":
            write_phantom(self.path, **self.phantom)
        if self.phantoms:
            write_phantom(self._beside, **self._drawn)

    @property
    def _drawn(self) -> dict[str, Any]:
        return {**self.phantom, "reports": self.phantoms}

    @property
    def _beside(self) -> Path:
        """The phantom beside a manifest."""
        return self.cache_dir / f"phantom-{sha256_json(self._drawn)[:16]}"

    def setup(self, stage: str) -> None:
        """Read all X-rays and masks."""
        self._pictures()

    @property
    def table(self) -> Table:
        """The X-rays with their split; no captions, and a vocabulary of labels alone."""
        if self._table is None:
            self._rows, split = self._read()
            images = pd.DataFrame(
                [
                    (row.image, row.path, row.patient_id, row.image, "frontal", "", [], [], its)
                    for row in self._rows
                    for its in [split.patients[row.patient_id]]
                ],
                columns=IMAGE_COLUMNS,
            )
            if idle := [name for name in ("train", "val") if name not in set(images["split"])]:
                raise DataError(
                    f"{self.path}: no X-ray is in the split '{idle[0]}'; check "
                    "data.split.fractions or the column split, or add segmenter.phantoms"
                )
            counts = Counts()
            counts.steps.append(("X-rays with masks", images["patient_id"].nunique(), len(images)))
            counts.details += [
                (f"images in {name}", int(number))
                for name, number in images["split"].value_counts().items()
            ]
            self._table = Table(
                images,
                pd.DataFrame(columns=TEXT_COLUMNS),
                Vocabulary.build(self.label_names, [], self.min_count),
                split,
                counts,
            )
        return self._table

    def _read(self) -> tuple[list[MaskRow], Patients]:
        if self.source == "phantom":
            rows = _read_phantom(self.path)
            return rows, self._split(rows, self.split["fractions"])
        rows = read_masks(self.path, MASKS)
        with_split = [row for row in rows if row.split]
        if with_split and len(with_split) < len(rows):
            raise DataError(
                f"{self.path}: {len(rows) - len(with_split):,} rows have no split while others "
                "have; fill the column or leave it out"
            )
        if self.split["file"]:
            split = read_split_file(Path(self.split["file"]))
            if absent := sorted({row.patient_id for row in rows} - set(split.patients)):
                raise DataError(
                    f"{self.split['file']}: {len(absent):,} patients of the data are not in it, "
                    f"such as '{absent[0]}'; add them or leave data.split.file out"
                )
        elif with_split:
            split = given_split([(row.patient_id, row.split) for row in rows], self.path)
        else:
            split = self._split(rows, self.split["fractions"])
        if not self.phantoms:
            return rows, split
        drawn = [
            replace(row, image=f"phantom/{row.image}", patient_id=f"phantom/{row.patient_id}")
            for row in _read_phantom(self._beside)
        ]
        others = self._split(drawn, PHANTOM_SPLIT)
        return rows + drawn, replace(split, patients={**split.patients, **others.patients})

    def _split(self, rows: Sequence[MaskRow], fractions: Sequence[float]) -> Patients:
        seed, patients = self.split["seed"], [row.patient_id for row in rows]
        drawn = make_splits(patients, ["X-ray"] * len(rows), fractions, seed=seed)
        return Patients(drawn, seed, tuple(fractions))

    @property
    def rows(self) -> list[MaskRow]:
        """The X-rays in the table's order."""
        if self._table is None:
            self._table = self.table
        return self._rows

    def _pictures(self) -> tuple[UInt8, UInt8]:
        """Return all X-rays (N, R, R) and masks (N, R, R, 2), 0 to 255, in the table's order."""
        if self._arrays is None:
            size, rows = self.resolution, self.rows

            def read(row: MaskRow) -> tuple[UInt8, UInt8]:
                image = read_image(row.path)
                masks = [resize(read_mask(row.masks[part], part, image), size) for part in MASKS]
                return resize(image, size), np.stack(masks, axis=-1)

            with ThreadPoolExecutor(os.cpu_count()) as pool:
                images, masks = zip(*pool.map(read, rows), strict=True)
            self._arrays = np.stack(images), np.stack(masks)
        return self._arrays

    def _loader(self, split: Split) -> EpochLoader:
        images, masks = self._pictures()
        rows = np.flatnonzero(self.table.images["split"] == split)
        training = split == "train"
        augmentation = None
        if training:
            transforms = [x for several in self.augmentations.values() for x in several]
            settings = [name for name, several in self.augmentations.items() for _ in several]
            augmentation = Augmentation(transforms, self.resolution, self.resolution, settings)
        trainer = self.trainer if training else None
        return EpochLoader(
            MaskDataset(images[rows], masks[rows], self.seed, augmentation),
            batch_size=None,
            sampler=EpochBatchSampler(
                len(rows),
                self.batch_size,
                seed=self.seed,
                shuffle=training,
                rank=trainer.global_rank if trainer else 0,
                world_size=trainer.world_size if trainer else 1,
                drop_last=training,
                held=self.held,
            ),
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Turn uint8 pictures and masks into floats on their device."""
        return {"image": to_tensor(batch["image"]), "masks": batch["masks"].float() / 255}


def _read_phantom(folder: Path) -> list[MaskRow]:
    if not (folder / MASK_TABLE).is_file():
        raise DataError(
            f"{folder}: holds no {MASK_TABLE}, it was written by an earlier version; remove the "
            "folder, and it is drawn again with its masks"
        )
    return read_masks(folder / MASK_TABLE, MASKS)


class MaskDataset(Dataset[Batch]):
    """X-rays of one split with their masks, augmented together.

    Args:
        images: (N, R, R), 0 to 255.
        masks: (N, R, R, 2), 0 to 255.
        seed: Of the augmentation.
        augmentation: Of training; None gives the pictures as they are.
    """

    def __init__(
        self, images: UInt8, masks: UInt8, seed: int, augmentation: Augmentation | None
    ) -> None:
        self.images, self.masks, self.seed, self.augmentation = images, masks, seed, augmentation

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, batch: Sequence[Item]) -> Batch:
        """Return "image", uint8 (B, R, R), and "masks", uint8 (B, 2, R, R)."""
        made = [self._item(epoch, index) for epoch, index in batch]
        images, masks = (np.stack(parts) for parts in zip(*made, strict=True))
        return {
            "image": torch.from_numpy(images),
            "masks": torch.from_numpy(masks).permute(0, 3, 1, 2),
        }

    def _item(self, epoch: int, index: int) -> tuple[UInt8, UInt8]:
        image, masks = self.images[index], self.masks[index]
        if self.augmentation is None:
            return image, masks
        return self.augmentation.with_masks(
            image, masks, derive(self.seed, "augment", epoch, index)
        )
