"""IU X-Ray from Open-i, on request: licence, resume, checksums, safe unpacking.

`python -m xrj.datamodules.download --out DIR --accept-licence` fetches the reports and the images.
"""

import argparse
import http.client
import re
import shutil
import urllib.error
import urllib.request
from pathlib import Path

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
    track,
)

from xrj.datamodules.archives import reading, safe_members
from xrj.datamodules.commands import run_command
from xrj.errors import DataError
from xrj.files import locked, read_json, sha256_file, write_json

URL_BASE = "https://openi.nlm.nih.gov/imgs/collections"
REPORTS = "NLMCXR_reports.tgz"
IMAGES = "NLMCXR_png.tgz"
IMAGE_FOLDER = "NLMCXR_png"
CHECKSUMS = "checksums.json"
LICENCE = (
    "IU X-Ray (Open-i, Indiana University; Demner-Fushman et al., JAMIA 2015) is licensed "
    "CC BY-NC-ND 4.0, https://creativecommons.org/licenses/by-nc-nd/4.0/: name the source, no "
    "commercial use, no sharing of changed copies."
)
_CHUNK = 1 << 20
_TRIES = 5


def download(
    out: Path,
    *,
    accept_licence: bool,
    reports_only: bool = False,
    url_base: str = URL_BASE,
    timeout: float = 60.0,
    wait: bool = False,
) -> None:
    """Fetch the archives to `out` and unpack the images to `out/NLMCXR_png/`.

    Run again after an interruption, it goes on where it stopped (`*.part`). The first run records
    SHA-256 checksums in `out/checksums.json`; later runs compare with them.

    Args:
        out: Folder of the data set; the reports stay in their archive, which is read as it is.
        accept_licence: The user accepts the licence.
        reports_only: Leave out the images (1.3 GB).
        url_base: Where the archives are.
        timeout: Seconds without an answer after which a connection counts as broken.
        wait: Wait for another download into this folder instead of refusing.

    Raises:
        DataError: The licence is not accepted, the host cannot be reached, a checksum differs, an
            archive is broken or unsafe, or the disk is full.
    """
    if not accept_licence:
        raise DataError(f"{LICENCE} To accept it, run again with --accept-licence")
    if not url_base.startswith(("https://", "http://")):
        raise DataError(f"--url-base {url_base}: give an https:// or http:// address")
    print(LICENCE)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with locked(out / ".download.lock", wait=wait) as held:
            if not held:
                raise DataError(f"{out}: another download is running here; wait for it")
            for name in (REPORTS,) if reports_only else (REPORTS, IMAGES):
                _fetch_checked(f"{url_base.rstrip('/')}/{name}", out / name, timeout)
            if not reports_only and not (out / IMAGE_FOLDER).is_dir():
                unpack_images(out / IMAGES, out / IMAGE_FOLDER)
    except OSError as error:
        raise DataError(
            f"{error.filename or out}: cannot be written ({error.strerror}); "
            "free space or choose another folder"
        ) from error


def _fetch_checked(url: str, path: Path, timeout: float) -> None:
    """Have `path` with the checksum that was recorded, or record it."""
    record = path.parent / CHECKSUMS
    checksums: dict[str, str] = read_json(record) if record.exists() else {}
    fetched = path if path.exists() else _fetch(url, path.with_name(f"{path.name}.part"), timeout)
    digest = sha256_file(fetched)
    if checksums.get(path.name, digest) != digest:
        if fetched != path:
            fetched.unlink()
        raise DataError(
            f"{path}: SHA-256 {digest[:16]}... differs from {checksums[path.name][:16]}... in "
            f"{record.name}; delete the file, or the entry if the change is meant"
        )
    if fetched != path:
        try:
            for _ in safe_members(fetched):
                pass
        except DataError:
            fetched.unlink()
            raise
        fetched.replace(path)
    if path.name not in checksums:
        write_json(record, {**checksums, path.name: digest})


def _fetch(url: str, part: Path, timeout: float) -> Path:
    """Fetch `url` to `part`, going on from its end; a connection that breaks off is taken up again.

    Raises:
        DataError: The host refuses, or `_TRIES` times in a row brings nothing new.
    """
    tries = 0
    reason = ""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, TransferSpeedColumn(), TimeRemainingColumn()) as progress:
        task = progress.add_task(url.rpartition("/")[2], total=None)
        while tries < _TRIES:
            before = _size(part)
            try:
                if _fetch_rest(url, part, timeout, progress, task):
                    return part
                reason = "the connection broke off"
            except urllib.error.HTTPError as error:
                if error.code == 416:
                    if error.headers.get("Content-Range", "").endswith(f"/{before}"):
                        return part  # it was whole already
                    part.unlink()
                    reason = "the partial file does not fit what the host has"
                elif error.code < 500:
                    raise DataError(
                        f"{url}: {error.code} {error.reason}; check --url-base"
                    ) from error
                else:
                    reason = f"{error.code} {error.reason}"
            except (
                urllib.error.URLError,
                http.client.HTTPException,
                TimeoutError,
                ConnectionError,
            ) as error:
                reason = str(getattr(error, "reason", error)) or type(error).__name__
            tries = 0 if _size(part) > before else tries + 1
    raise DataError(f"{url}: {reason}; run the same command again to go on from {part.name}")


def _fetch_rest(url: str, part: Path, timeout: float, progress: Progress, task: TaskID) -> bool:
    """Append to `part` what it lacks; say whether it is whole."""
    start = _size(part)
    headers = {"Range": f"bytes={start}-"} if start else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 (the caller checks it)
    with urllib.request.urlopen(request, timeout=timeout) as answer:  # noqa: S310 (the same)
        resumed = answer.status == 206
        stated = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
        if resumed and (stated is None or int(stated[1]) != start):
            raise DataError(f"{url}: the host answers another range than asked for; delete {part}")
        length = stated[2] if resumed and stated else answer.headers.get("Content-Length")
        total = int(length) if length is not None else None
        progress.update(task, total=total, completed=start if resumed else 0)
        with part.open("ab" if resumed else "wb") as handle:
            while chunk := answer.read(_CHUNK):
                handle.write(chunk)
                progress.advance(task, len(chunk))
    return total is None or _size(part) == total


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def unpack_images(archive: Path, folder: Path) -> None:
    """Unpack the PNGs of an archive, without their folders, into `folder`: all or none.

    Raises:
        DataError: The archive is broken or unsafe, or two images have one name.
    """
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        for name, _, stream in track(safe_members(archive), f"unpacking {archive.name}"):
            if name.endswith(".png"):
                try:
                    file = part / name.rpartition("/")[2]
                    with reading(archive), file.open("xb") as handle:
                        shutil.copyfileobj(stream, handle, _CHUNK)
                except FileExistsError as error:
                    raise DataError(f"{archive}: two images '{name}'; do not use it") from error
        part.replace(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def main() -> None:
    """Download IU X-Ray from Open-i."""
    parser = argparse.ArgumentParser(
        prog="python -m xrj.datamodules.download", description=main.__doc__, epilog=LICENCE
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--url-base", default=URL_BASE, help="where the archives are")
    parser.add_argument("--reports-only", action="store_true", help="leave out the images")
    parser.add_argument("--accept-licence", action="store_true", help="CC BY-NC-ND 4.0, see below")
    args = parser.parse_args()
    download(
        args.out,
        accept_licence=args.accept_licence,
        reports_only=args.reports_only,
        url_base=args.url_base,
    )


if __name__ == "__main__":
    run_command(main)
