"""Masks beside X-rays: the phantom's own, and those that a CSV names."""

import cv2
import numpy as np
import pandas as pd
import pytest

from tests.tiny import compose_train, places
from xrj.build import build_data
from xrj.datamodules.masks import MASKS, read_mask, read_masks
from xrj.datamodules.phantom import write_phantom
from xrj.datamodules.phantom_anatomy import draw_acquisition
from xrj.datamodules.phantom_render import frontal_truth
from xrj.datamodules.phantom_study import draw_masks, draw_study
from xrj.errors import ConfigError, DataError
from xrj.measures.masks import components, width_of


def test_the_phantoms_masks_have_its_true_widths():
    for number in range(12):
        study = draw_study(3, number, 0.4, 0.4)
        for image_id, masks in draw_masks(3, study, 256):
            index = [name for name, _ in study.images].index(image_id)
            truth = frontal_truth(study.patient, draw_acquisition(3, study.uid, index, "frontal"))
            heart, lungs = (width_of(masks[part] / np.float32(255)) for part in MASKS)
            assert (heart.left, heart.right) == pytest.approx(
                (truth.heart_left, truth.heart_right), abs=0.004
            )
            assert (lungs.left, lungs.right) == pytest.approx(
                (truth.thorax_left, truth.thorax_right), abs=0.004
            )
            assert len(components(masks["heart"] / 255, 1)[1]) == 1
            assert len(components(masks["lungs"] / 255, 2)[1]) == 2
            assert not np.any((masks["heart"] > 200) & (masks["lungs"] > 200))


@pytest.fixture
def folder(tmp_path):
    """Four X-rays with masks, and the CSV that names them."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(4):
        picture = rng.integers(0, 255, (40, 50), dtype=np.uint8)
        row = {"image": f"{number}.png", "ctr": 0.5}
        cv2.imwrite(str(tmp_path / row["image"]), picture)
        for part, columns in zip(MASKS, (slice(20, 30), slice(5, 45)), strict=True):
            row[part] = f"{part}-{number}.png"
            mask = np.zeros((40, 50), np.uint8)
            mask[10:30, columns] = 255
            cv2.imwrite(str(tmp_path / row[part]), mask)
        rows.append(row)
    write(tmp_path, rows)
    return tmp_path


def write(folder, rows):
    pd.DataFrame(rows).to_csv(folder / "data.csv", index=False)


def data_of(folder, *overrides):
    cfg = compose_train(
        *places(folder),
        *("stage=segmenter", "data=manifest", f"data.csv={folder}/data.csv"),
        *("segmenter.phantoms=0", "segmenter.resolution=32", "segmenter.batch_size=2"),
        *("data.split.fractions=[0.5,0.5,0]", *overrides),
    )
    data = build_data(cfg)
    data.prepare_data()
    data.setup("fit")
    return data


def test_a_batch_holds_xrays_with_their_masks(folder):
    data = data_of(folder, "segmenter.augmentations=[]")
    batch = data.on_after_batch_transfer(next(iter(data.val_dataloader())), 0)
    assert batch["image"].shape == (2, 1, 32, 32)
    assert batch["masks"].shape == (2, 2, 32, 32)
    assert -1 <= batch["image"].min() < batch["image"].max() <= 1
    areas = batch["masks"].mean(dim=(2, 3))
    assert areas[0].tolist() == pytest.approx([0.5 * 10 / 50, 0.5 * 40 / 50], abs=0.01)


def test_masks_move_with_their_xray(folder):
    """The X-ray is its own mask of the heart: after any move it must still be."""
    for number in range(4):
        mask = cv2.imread(str(folder / f"heart-{number}.png"), cv2.IMREAD_GRAYSCALE)
        cv2.imwrite(str(folder / f"{number}.png"), mask)
    move = (
        "{_target_: albumentations.Affine, translate_percent: [-0.3, 0.3], rotate: [-40, 40], p: 1}"
    )
    data = data_of(folder, f"segmenter.augmentations=[{move}]")
    loader = data.train_dataloader
    data.trainer = None
    batch = next(iter(loader()))
    image, heart = batch["image"].float() / 255, batch["masks"][:, 0].float() / 255
    assert (image - heart).abs().mean() < 0.01
    assert (image > 0.5).any()
    assert not np.array_equal(batch["masks"], next(iter(data.val_dataloader()))["masks"])


def test_phantoms_join_the_xrays_and_all_xrays_may_train(folder):
    data = data_of(
        folder,
        *("segmenter.phantoms=12", "data.phantom.size=48", "data.split.fractions=[1,0,0]"),
    )
    images = data.table.images
    own = ~images["image_id"].str.startswith("phantom/")
    assert own.sum() == 4
    assert set(images["split"][own]) == {"train"}
    assert set(images["split"][~own]) == {"train", "val"}


def broken(folder, kind):
    rows = pd.read_csv(folder / "data.csv").to_dict("records")
    if kind == "missing":
        (folder / "heart-1.png").unlink()
    elif kind == "size":
        cv2.imwrite(str(folder / "lungs-2.png"), np.full((41, 50), 255, np.uint8))
    elif kind == "empty":
        cv2.imwrite(str(folder / "heart-0.png"), np.zeros((40, 50), np.uint8))
    elif kind == "no picture":
        (folder / "heart-0.png").write_text("nothing")
    elif kind == "column":
        rows = [{key: row[key] for key in ("image", "heart")} for row in rows]
    elif kind == "blank":
        rows[3]["lungs"] = ""
    elif kind == "outside":
        rows[0]["heart"] = "../heart.png"
    elif kind == "no row":
        rows = pd.DataFrame(columns=["image", *MASKS])
    elif kind == "split":
        rows[0]["split"] = "train"
    elif kind == "one split":
        rows = [row | {"split": "train"} for row in rows]
    write(folder, rows)


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("missing", r"row 3 \(1\.png\): there is no heart .*heart-1\.png; mend"),
        ("size", r"lungs-2\.png: the mask of the lungs is 50 x 41 pixels and its X-ray 50 x 40"),
        ("empty", r"heart-0\.png: the mask of the heart is empty"),
        ("no picture", r"heart-0\.png"),
        ("column", "column 'lungs' is missing"),
        ("blank", r"row 5 \(3\.png\) has no lungs"),
        ("outside", "leads out of"),
        ("no row", "holds no row"),
        ("split", "3 rows have no split"),
        ("one split", "no X-ray is in the split 'val'"),
    ],
)
def test_what_is_wrong_with_masks_is_said_in_one_line(folder, kind, named):
    broken(folder, kind)
    with pytest.raises(DataError, match=named) as caught:
        data_of(folder)
    assert "\n" not in str(caught.value)


def test_sources_without_masks_say_so(tmp_path):
    with pytest.raises(ConfigError, match="data=iu_xray: has no masks"):
        build_data(compose_train("stage=segmenter", "data=iu_xray", f"data.root={tmp_path}"))
    phantom = write_phantom(tmp_path / "phantom", reports=3, seed=0, size=48)
    (phantom / "masks.csv").unlink()
    cfg = compose_train(
        *places(tmp_path), "stage=segmenter", f"data.root={phantom}",
        "data.phantom={reports: 3, seed: 0, size: 48}",
    )  # fmt: skip
    data = build_data(cfg)
    data.prepare_data()
    with pytest.raises(DataError, match=r"holds no masks\.csv, it was written by an earlier"):
        data.setup("fit")


@pytest.mark.parametrize("value", ["1.5", "-0.1", "0", "nan", "wide"])
def test_a_ratio_that_is_none_is_named(folder, value):
    rows = pd.read_csv(folder / "data.csv").astype(object).to_dict("records")
    rows[1]["ctr"] = value
    write(folder, rows)
    with pytest.raises(DataError, match=rf"row 3 \(1\.png\): ctr is '{value}', not a ratio"):
        read_masks(folder / "data.csv", ("ctr",))


def test_a_csv_may_lack_masks(folder):
    write(folder, [{"image": "0.png", "ctr": 0.4}])
    (row,) = read_masks(folder / "data.csv", ("ctr",))
    assert (row.masks, row.ctr, row.patient_id) == ({}, 0.4, "0.png")
    mask = read_mask(folder / "heart-0.png", "heart", np.zeros((40, 50), np.uint8))
    assert mask.mean() == pytest.approx(255 * 0.1)
