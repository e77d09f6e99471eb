import pickle
import shutil
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from xrj.datamodules.cache import ImageCache
from xrj.datamodules.images import prepare, read_image
from xrj.datamodules.telling import telling_captions
from xrj.datamodules.vocabulary import EOS, PAD, UNLABELLED
from xrj.errors import ConfigError, DataError


@pytest.fixture
def ready(make_datamodule):
    def make(**changes):
        datamodule = make_datamodule(**changes)
        datamodule.prepare_data()
        datamodule.setup("fit")
        return datamodule

    return make


def epoch_of(loader, epoch=0):
    loader.sampler.set_epoch(epoch)
    return list(loader)


def same(first, second):
    return len(first) == len(second) and all(
        left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)
        for left, right in zip(first, second, strict=True)
    )


def strip(tokens):
    return [tuple(row[row != PAD].tolist()) for row in tokens]


def encoded_captions(datamodule, index):
    row = datamodule.table.images.iloc[int(index)]
    return {tuple(datamodule.vocabulary.encode(row["label"], words)) for words in row["captions"]}


def test_image_batches_have_the_promised_shapes_and_ranges(ready):
    datamodule = ready(resolution=32)
    (travelling, *_) = epoch_of(datamodule.train_dataloader())
    assert travelling["image"].dtype == torch.uint8
    batch = datamodule.on_after_batch_transfer(dict(travelling), 0)
    assert batch["image"].shape == (4, 1, 32, 32)
    assert batch["small"].shape == (4, 1, 16, 16)
    assert batch["image"].dtype == batch["small"].dtype == torch.float32
    assert -1 <= batch["image"].min() < -0.5 < 0.5 < batch["image"].max() <= 1
    assert batch["label"].dtype == batch["index"].dtype == batch["tokens"].dtype == torch.int64
    blocks = batch["image"].reshape(4, 1, 16, 2, 16, 2).mean((3, 5))
    assert torch.allclose(batch["small"], blocks, atol=1e-6)  # the same crop
    assert "small" not in ready().on_after_batch_transfer(dict(travelling), 0)


def test_label_index_and_tokens_belong_to_the_image(ready):
    datamodule = ready()
    images = datamodule.table.images
    for loader, split in (
        (datamodule.train_dataloader(), "train"),
        (datamodule.val_dataloader(), "val"),
        (datamodule.test_dataloader(), "test"),
    ):
        for batch in loader:
            for index, label, tokens in zip(
                batch["index"], batch["label"], strip(batch["tokens"]), strict=True
            ):
                row = images.iloc[int(index)]
                assert row["split"] == split
                assert datamodule.label_names[label] == row["label"]
                assert tokens in encoded_captions(datamodule, index)
                assert tokens[0] == datamodule.vocabulary.label_ids[label]
                assert tokens[-1] == EOS


def test_a_telling_share_of_one_gives_the_telling_captions(ready):
    datamodule = ready(telling=1.0)
    images = datamodule.table.images
    train = images[images["split"] == "train"]
    captions = telling_captions(
        train["sentences"].tolist(), train["label"].tolist(), datamodule.caption_rules.max_words
    )
    encoded = map(datamodule.vocabulary.encode, train["label"], captions)
    expected = dict(zip(train.index, map(tuple, encoded), strict=True))
    for batch in datamodule.train_dataloader():
        for index, tokens in zip(batch["index"].tolist(), strip(batch["tokens"]), strict=True):
            assert tokens == expected[index]


@pytest.mark.parametrize("wrong", ["other_label", "mixed"])
def test_wrong_captions_are_really_wrong(ready, wrong):
    datamodule = ready(wrong=wrong)
    other = []
    loader = datamodule.train_dataloader()
    for epoch in range(12):
        for batch in epoch_of(loader, epoch):
            for index, right, tokens in zip(
                batch["index"], strip(batch["tokens"]), strip(batch["wrong_tokens"]), strict=True
            ):
                assert tokens not in encoded_captions(datamodule, index)
                other.append(tokens[0] != right[0])
    share = np.mean(other)
    assert share == 1 if wrong == "other_label" else 0.4 < share < 0.6  # of 288 draws


def test_with_one_label_wrong_captions_come_from_other_reports(ready):
    datamodule = ready(labels=[{"name": "normal", "only": ["normal"]}])
    for batch in datamodule.train_dataloader():
        for index, tokens in zip(batch["index"], strip(batch["wrong_tokens"]), strict=True):
            assert tokens not in encoded_captions(datamodule, index)


@pytest.mark.parametrize("content", ["images", "captions"])
def test_worker_processes_change_nothing(ready, content):
    alone = ready(content=content).train_dataloader()
    helped = ready(content=content, num_workers=2).train_dataloader()
    epochs = [epoch_of(alone, epoch) for epoch in range(2)]
    assert same(epochs[0], epoch_of(helped, 0))
    assert same(epochs[1], epoch_of(helped, 1))


@pytest.mark.parametrize("content", ["images", "captions"])
def test_epochs_differ_and_are_reproducible(ready, content):
    loader = ready(content=content).train_dataloader()
    epochs = [epoch_of(loader, epoch) for epoch in range(3)]
    assert not any(same(*pair) for pair in pairwise(epochs))
    assert same(epochs[1], epoch_of(ready(content=content).train_dataloader(), 1))
    assert not same(epochs[1], epoch_of(ready(content=content, seed=8).train_dataloader(), 1))


def test_one_image_gets_another_crop_each_epoch_and_is_never_mirrored(ready):
    datamodule = ready()
    loader = datamodule.train_dataloader()
    crops = []
    for epoch in range(12):
        for batch in epoch_of(loader, epoch):
            half = batch["image"].shape[-1] // 2
            image = batch["image"].float()
            assert (
                image[..., half + 2 :].mean((1, 2)) > image[..., : half - 2].mean((1, 2)) + 50
            ).all()
            crops += [crop.numpy().tobytes() for crop in batch["image"][batch["index"] == 4]]
    assert len(set(crops)) > len(crops) // 2


def test_validation_is_deterministic_middle_and_first_caption(ready):
    datamodule = ready()
    loader = datamodule.val_dataloader()
    assert same(epoch_of(loader, 0), epoch_of(loader, 5))
    images, rows = datamodule.evaluation_images("val", 16)
    batches = list(loader)
    assert np.array_equal(torch.cat([batch["image"] for batch in batches]).numpy(), images)
    assert len(images) == len(rows) == sum(len(batch["index"]) for batch in batches)
    for image, path in zip(images, rows["path"], strict=True):
        assert np.array_equal(image, prepare(read_image(path), 16, 0.25))
    first = [datamodule.vocabulary.encode(row.label, row.captions[0]) for row in rows.itertuples()]
    assert [list(t) for batch in batches for t in strip(batch["tokens"])] == first
    assert datamodule.evaluation_images("val", 32)[0].shape[1:] == (32, 32)


def test_of_a_large_split_a_fixed_sample_is_seen(ready):
    datamodule = ready()
    everything, frame = datamodule.evaluation_images("train", 16)
    images, rows = datamodule.evaluation_images("train", 16, most=3)
    again, _ = datamodule.evaluation_images("train", 16, most=3)
    assert np.array_equal(images, again)
    places = [frame["path"].tolist().index(path) for path in rows["path"]]
    assert places == sorted(set(places))
    assert len(places) == 3
    assert np.array_equal(images, everything[places])
    assert len(datamodule.evaluation_images("train", 16, most=len(frame))[0]) == len(frame)


def test_captions_of_training_are_made_anew_from_the_same_report(ready):
    datamodule = ready(content="captions")
    data = datamodule.caption_data("train")
    fixed = {tuple(caption) for _, _, caption in data.items}
    made = set()
    for epoch in range(6):
        for place, (label, sentences, _) in enumerate(data.items):
            shown, words = datamodule.vocabulary.decode(
                data[[(epoch, place)]]["tokens"][0].tolist()
            )
            assert shown == label
            assert 5 <= len(words) <= 15
            assert set(words) <= {word for sentence in sentences for word in sentence[:15]}
            made.add(tuple(words))
    assert len(made - fixed) > len(fixed)


def test_fixed_captions_are_all_captions_of_distinct_reports(ready):
    datamodule = ready(content="captions", recombine=False, use_unlabelled_text=False)
    for split in ("train", "val"):
        loader = datamodule.caption_data(split)
        images = datamodule.table.images
        images = images[images["split"] == split].drop_duplicates("report_uid")
        expected = sorted(
            tuple(datamodule.vocabulary.encode(row.label, words))
            for row in images.itertuples()
            for words in row.captions
        )
        items = [loader[[(0, place)]]["tokens"] for place in range(len(loader))]
        assert sorted(strip(tokens)[0] for tokens in items) == expected


def test_texts_without_label_are_for_training_only(ready):
    datamodule = ready(content="captions")

    def first_tokens(loader):
        return {row[0] for batch in loader for row in strip(batch["tokens"])}

    assert UNLABELLED in first_tokens(datamodule.train_dataloader())
    assert UNLABELLED not in first_tokens(datamodule.val_dataloader())
    assert UNLABELLED not in first_tokens(datamodule.test_dataloader())
    alone = ready(content="captions", use_unlabelled_text=False)
    assert UNLABELLED not in first_tokens(alone.train_dataloader())


def test_ranks_share_the_training_images_and_are_equally_long(ready):
    datamodule = ready()
    seen = []
    for rank in range(2):
        datamodule.trainer = SimpleNamespace(global_rank=rank, world_size=2)
        seen.append([batch["index"].tolist() for batch in datamodule.train_dataloader()])
    assert len(seen[0]) == len(seen[1]) == 3
    first, second = ({index for batch in batches for index in batch} for batches in seen)
    assert len(first) == len(second) == 12
    assert not first & second


def test_it_travels_to_spawned_processes(ready):
    datamodule = ready()
    datamodule.evaluation_images("val", 16)
    copy = pickle.loads(pickle.dumps(datamodule))  # noqa: S301  (our own bytes)
    assert same(epoch_of(copy.train_dataloader()), epoch_of(datamodule.train_dataloader()))


def test_broken_images_are_left_out(ready, openi_root, tmp_path, caplog):
    root = tmp_path / "data"
    shutil.copytree(openi_root, root)
    broken = root / "NLMCXR_png" / "CXR5_IM-0001-1001.png"
    broken.write_bytes(broken.read_bytes()[:200])
    datamodule = ready(root=str(root))
    assert "1 of 45 images are broken" in caplog.text
    rows = [datamodule.evaluation_images(split, 16)[1] for split in ("train", "val", "test")]
    assert sum(map(len, rows)) == 44
    assert not any((frame["path"] == broken).any() for frame in rows)
    with pytest.raises(DataError, match=r"max_broken"):
        ready(root=str(root), max_broken=0.0)


def test_the_phantom_is_written_once_and_read_like_open_i(ready, tmp_path):
    options = {
        "source": "phantom",
        "root": None,
        "phantom": {"reports": 24, "seed": 1, "size": 32, "cardiomegaly": 0.4, "other": 0.1},
    }
    datamodule = ready(**options)
    assert datamodule.path.parent == tmp_path / "cache"
    written = {path: path.stat().st_mtime_ns for path in datamodule.path.rglob("*.png")}
    again = ready(**options)
    assert {path: path.stat().st_mtime_ns for path in again.path.rglob("*.png")} == written
    assert again.split_hash == datamodule.split_hash
    assert same(epoch_of(again.train_dataloader()), epoch_of(datamodule.train_dataloader()))


def test_a_manifest_is_read(ready, openi_root, make_datamodule):
    source = make_datamodule()
    frame = source.table.images
    csv = openi_root / "NLMCXR_png" / "manifest.csv"
    findings = frame["sentences"].map(lambda found: " ".join(" ".join(s) + "." for s in found))
    frame.assign(image=frame["image_id"] + ".png", findings=findings)[
        ["image", "patient_id", "label", "findings"]
    ].to_csv(csv, index=False)
    datamodule = ready(source="manifest", root=None, csv=str(csv))
    assert len(datamodule.table.images) == len(frame)
    assert next(iter(datamodule.val_dataloader()))["image"].shape[1:] == (16, 16)


def test_an_empty_split_is_named(ready):
    datamodule = ready(split={"fractions": [0.8, 0.2, 0.0], "seed": 0, "file": None})
    for ask in (datamodule.test_dataloader, lambda: datamodule.caption_data("test")):
        with pytest.raises(DataError, match="nothing is in test"):
            ask()


@pytest.mark.parametrize(
    ("changes", "flag"),
    [({"root": None}, "data.root"), ({"source": "manifest", "csv": None}, "data.csv")],
)
def test_a_source_without_its_place_names_the_flag(make_datamodule, changes, flag):
    with pytest.raises(ConfigError, match=flag):
        make_datamodule(**changes)


class Recorder(pl.LightningModule):
    """Writes down what every training step gets."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen = []

    def training_step(self, batch, batch_idx):
        self.seen.append((self.current_epoch, {key: value.clone() for key, value in batch.items()}))
        return self.weight.sum() * 0

    def validation_step(self, batch, batch_idx):
        assert batch["image"].dtype == torch.float32

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trainer(folder, epochs, **options):
    return pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        default_root_dir=folder,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        **options,
    )


@pytest.mark.parametrize("num_workers", [0, 2])
def test_lightning_sets_the_epoch_also_after_a_resume(make_datamodule, tmp_path, num_workers):
    changes = {"num_workers": num_workers}
    whole, first, second = Recorder(), Recorder(), Recorder()
    trainer(tmp_path / "a", 3, enable_checkpointing=False).fit(whole, make_datamodule(**changes))
    part = trainer(tmp_path / "b", 1, enable_checkpointing=False)
    part.fit(first, make_datamodule(**changes))
    part.save_checkpoint(tmp_path / "b.ckpt")
    trainer(tmp_path / "b", 3, enable_checkpointing=False).fit(
        second, make_datamodule(**changes), ckpt_path=tmp_path / "b.ckpt", weights_only=True
    )
    resumed = first.seen + second.seen
    assert [epoch for epoch, _ in resumed] == [epoch for epoch, _ in whole.seen]
    assert same([batch for _, batch in resumed], [batch for _, batch in whole.seen])
    assert not same([b for e, b in resumed if e == 0], [b for e, b in resumed if e == 1])


def test_the_cache_is_filled_before_setup(make_datamodule, monkeypatch):
    datamodule = make_datamodule()
    datamodule.prepare_data()
    calls = []
    monkeypatch.setattr(ImageCache, "build", lambda *a, **k: calls.append(a))
    datamodule.setup("fit")
    datamodule.evaluation_images("val", 16)
    assert not calls
