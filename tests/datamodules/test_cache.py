import errno
import json
import multiprocessing
import os
import pickle
import shutil

import cv2
import numpy as np
import pytest

from xrj.datamodules import cache as module
from xrj.datamodules.cache import ImageCache
from xrj.datamodules.images import prepare, read_image
from xrj.errors import DataError


@pytest.fixture
def paths(tmp_path):
    folder = tmp_path / "png"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(12):
        cv2.imwrite(
            str(folder / f"{number:02}.png"), rng.integers(0, 256, (50, 40), dtype=np.uint8)
        )
    return sorted(folder.iterdir())


def build(paths, folder, **options):
    return ImageCache.build(paths, 16, 0.25, folder, **options)


def files(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_rows_are_the_images_in_order(paths, tmp_path):
    cache = build(paths, tmp_path / "cache", workers=3)
    assert cache.array.shape == (12, 20, 20)
    assert isinstance(cache.array, np.memmap)
    assert not cache.array.flags.writeable
    for row, path in enumerate(paths):
        assert np.array_equal(cache.centre([row])[0], prepare(read_image(path), 16, 0.25))


def test_a_second_build_decodes_nothing(paths, tmp_path, monkeypatch):
    first = build(paths, tmp_path / "cache")
    monkeypatch.setattr(module, "read_image", None)
    assert build(paths, tmp_path / "cache").folder == first.folder


def test_a_moved_folder_hits_and_a_changed_file_misses(paths, tmp_path, monkeypatch):
    first = build(paths, tmp_path / "cache")
    moved = tmp_path / "moved"
    shutil.move(paths[0].parent, moved)
    paths = sorted(moved.iterdir())
    assert build(paths, tmp_path / "cache").folder == first.folder
    stat = paths[3].stat()
    data = bytearray(paths[3].read_bytes())
    data[-20] ^= 1
    paths[3].write_bytes(data)
    os.utime(paths[3], ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    changed = build(paths, tmp_path / "cache", max_broken=0.5)
    assert changed.folder != first.folder
    assert list(changed.broken) == [3]


def test_resolution_margin_and_order_are_part_of_the_key(paths, tmp_path):
    caches = [
        ImageCache.build(chosen, resolution, margin, tmp_path / "cache")
        for chosen, resolution, margin in (
            (paths, 16, 0.25),
            (paths, 16, 0.5),
            (paths, 32, 0.25),
            (paths[::-1], 16, 0.25),
        )
    ]
    assert len({cache.folder for cache in caches}) == 4


def test_broken_images_are_listed_and_black(paths, tmp_path, caplog):
    paths[2].write_bytes(b"")
    paths[7].write_bytes(paths[7].read_bytes()[:60])
    paths[9].unlink()
    for _ in range(2):  # made, then found
        caplog.clear()
        cache = build(paths, tmp_path / "cache", max_broken=0.25)
        assert sorted(cache.broken) == [2, 7, 9]
        assert not cache.array[[2, 7, 9]].any()
        assert cache.array[3].any()
        assert "3 of 12 images are broken" in caplog.text
    lines = (cache.folder / "broken.csv").read_text().splitlines()
    assert lines[0] == "path,reason"
    assert [str(paths[row]) in line for row, line in zip((2, 7, 9), lines[1:], strict=True)]


def test_too_many_broken_images_stop(paths, tmp_path):
    paths[2].write_bytes(b"")
    for _ in range(2):
        with pytest.raises(
            DataError, match=r"broken\.csv: 1 of 12 images are broken.*02\.png.*max_broken"
        ):
            build(paths, tmp_path / "cache", max_broken=0.05)


@pytest.mark.parametrize("call", ["posix_fallocate", "pwrite"])
def test_a_full_disk_is_an_error_and_leaves_nothing(paths, tmp_path, monkeypatch, call):
    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(DataError, match="No space left on device"):
            build(paths, tmp_path / "cache")
    left = files(tmp_path / "cache")
    assert all(name.endswith((".lock", ".txt")) for name in left), left
    assert build(paths, tmp_path / "cache").array.any()


def test_what_a_killed_build_left_is_removed(paths, tmp_path):
    first = build(paths, tmp_path / "cache")
    (first.folder / "cache.json").unlink()
    (first.folder / ".images.npy.99999.tmp").write_bytes(b"half")
    build(paths, tmp_path / "cache")
    assert sorted(path.name for path in first.folder.iterdir()) == ["cache.json", "images.npy"]


def _build_in_process(paths, folder, barrier, queue):
    count = 0
    original = module.read_image

    def counted(path):
        nonlocal count
        count += 1
        return original(path)

    module.read_image = counted
    barrier.wait()
    cache = build(paths, folder, workers=1)
    queue.put((count, int(cache.array.sum())))


def test_two_processes_at_once_decode_once(paths, tmp_path):
    context = multiprocessing.get_context("fork")
    barrier, queue = context.Barrier(2), context.Queue()
    processes = [
        context.Process(target=_build_in_process, args=(paths, tmp_path / "cache", barrier, queue))
        for _ in range(2)
    ]
    for process in processes:
        process.start()
    results = [queue.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert sorted(count for count, _ in results) == [0, 12]
    assert len({total for _, total in results}) == 1


def test_pickling_leaves_the_map_out(paths, tmp_path):
    cache = build(paths, tmp_path / "cache")
    total = cache.array.sum()
    data = pickle.dumps(cache)
    assert len(data) < 1500
    assert pickle.loads(data).array.sum() == total  # noqa: S301  (our own bytes)


def test_an_interrupted_build_leaves_nothing(paths, tmp_path, monkeypatch):
    def interrupted(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "read_image", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build(paths, tmp_path / "cache", workers=2)
    assert all(name.endswith((".lock", ".txt")) for name in files(tmp_path / "cache"))


def test_the_sidecar_says_what_the_array_holds(paths, tmp_path):
    cache = build(paths, tmp_path / "cache")
    stated = json.loads((cache.folder / "cache.json").read_text())
    assert stated == {"images": 12, "size": 20, "broken": {}}
