"""Broken files by the thousand: `python -m tests.fuzz [files] [seed]`; see `fuzz`."""

import json
import multiprocessing
import random
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from functools import partial
from io import BytesIO, StringIO
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom.uid import ImplicitVRLittleEndian, JPEGBaseline8Bit

from tests.datamodules.layouts import FINDINGS, report_xml
from tests.datamodules.radiographs import as_bytes, encoded, hides_the_patient, planted, radiograph
from xrj.datamodules import kaggle, openi
from xrj.datamodules.decoders import decode_here
from xrj.datamodules.decoding import decode_apart
from xrj.datamodules.greys import NeedsProcessError
from xrj.datamodules.labels import PAPER_RULES
from xrj.datamodules.manifest import read as read_manifest
from xrj.datamodules.r2gen import read as read_r2gen
from xrj.datamodules.splits import read_split_file
from xrj.datamodules.vocabulary import Vocabulary
from xrj.errors import UserError
from xrj.files import sha256_file, sha256_json
from xrj.handover import Kept, load_export, write_export
from xrj.nets.registry import build_net

SECONDS = 20
"""That one file may take."""
SPEC = {"net": "InverseMapping", "embedding": 6, "noise": 3, "scale": 1.0, "width": 2, "size": 16}
SPEC |= {"channels": 1, "dropout": 0.5, "convolution_dropout": 0.1}
EXTREMES = (b"0", b"-1", b"1e309", b"NaN", b"9" * 30, b"", b"\xff", b"\0", b'"', b"\xef\xbb\xbf")
WORDS = (
    b"<!DOCTYPE x>",
    b"<x>" * 3000,
    b"[" * 5000,
    b"{",
    b"null",
    b"\r",
    b";",
    b"..",
    b"\xcc\x81",
)
VALUES = (None, -1, 2**70, 1e300, float("nan"), "", "\0", "\ud800", [], {}, [[]], True, "x" * 5000)
MAX_PIXELS = 1_000_000


class Slow(BaseException):
    """A file takes longer than `SECONDS`."""


def export(folder: Path) -> None:
    net = build_net(SPEC)
    kept = Kept(1, None, {}, {f"inverse.{key}": value for key, value in net.state_dict().items()})
    write_export(
        folder / "export",
        stage="inverse",
        nets={"inverse": SPEC},
        kept={"last": kept},
        dims={"embedding": 6},
        vocabulary=Vocabulary(("normal", "cardiomegaly"), ("clear", "heart")),
        split_hash="split",
        parents={},
        data={},
    )


def read_export(path: Path) -> None:
    loaded = load_export(path.parent.parent, "inverse")
    _ = loaded.vocabulary, loaded.hash
    loaded.net("inverse")


def read_picture(path: Path) -> None:
    with suppress(NeedsProcessError):
        decode_here(path.read_bytes(), str(path), MAX_PIXELS, expendable=False)


def read_apart(path: Path) -> None:
    decode_apart(path.read_bytes(), str(path), MAX_PIXELS, warn=str)


Seed = tuple[str, bytes, Callable[[Path], object]]


def seeds(folder: Path) -> list[Seed]:
    """Return files that are read, by name below a folder of their own, with their readers."""
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (24, 20), np.uint8)
    deep = rng.integers(0, 65536, (24, 20), np.uint16)
    colour = rng.integers(0, 256, (24, 20, 3), np.uint8)
    jpeg, exif = encoded(grey, "JPEG"), BytesIO()
    with_exif = Image.Exif()
    with_exif[0x0112] = 6
    Image.fromarray(colour).save(exif, "JPEG", exif=with_exif, progressive=True)
    named = {"RescaleSlope": 2, "WindowCenter": 99, "WindowWidth": 50, "PatientOrientation": "L"}
    pictures = [
        *(("p.png", encoded(pixels, "PNG")) for pixels in (grey, deep, colour)),
        *(("p.jpg", data) for data in (jpeg, exif.getvalue())),
        ("d.dcm", as_bytes(planted(radiograph(deep, **named)))),
        ("d.dcm", as_bytes(planted(radiograph(grey, syntax=ImplicitVRLittleEndian)))),
        ("d.dcm", as_bytes(planted(radiograph(grey, syntax=JPEGBaseline8Bit, frame=jpeg)))),
    ]
    small = as_bytes(radiograph(deep, PatientName="DOE^JANE", PatientID="MRN-4711", **named))
    pictures += [("d.dcm", small)] * 3
    manifest = f'image,patient_id,label,findings,view\na.png,1,normal,"{FINDINGS}",PA\n'
    reports = f'uid,MeSH,findings,impression\n1,normal,"{FINDINGS}",Fine\n'
    item = {"id": "CXR1_IM-1", "report": FINDINGS, "image_path": ["a/0.png"], "label": "normal"}
    annotation = json.dumps({"train": [item], "val": [item | {"id": "CXR2_IM-1"}]})
    split = json.dumps({"patients": {"train": ["1"], "val": ["2"], "test": []}})
    export(folder)
    files = [folder / "export" / name for name in ("stage.json", "last.safetensors")]
    return [
        *((name, data, read_picture) for name, data in pictures),
        ("m.csv", manifest.encode(), lambda p: read_manifest(p, ["normal"], max_broken=1.0)),
        (kaggle.REPORTS, reports.encode(), lambda p: kaggle.read_reports(p.parent, {}, [])),
        (
            "ecgen-radiology/1.xml",
            report_xml("CXR1", image_ids=("CXR1_IM-1-1",)),
            lambda p: openi.read(p.parents[1], PAPER_RULES, max_broken=0.0, require_images=False),
        ),
        (
            "annotation.json",
            annotation.encode(),
            lambda p: read_r2gen(p.parent, PAPER_RULES, max_broken=1.0),
        ),
        ("split.json", split.encode(), read_split_file),
        *((f"export/{path.name}", path.read_bytes(), read_export) for path in files),
    ]


def mutated(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """Return a file's bytes after one to four random changes."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        # Headers are short, and most of what can be wrong is in them.
        at = rng.randrange(min(len(out), rng.choice((64, 700, 1 << 30))) or 1)
        match rng.randrange(8):
            case 0 if out:
                out[at] ^= 1 << rng.randrange(8)
            case 1:
                del out[at : at + rng.choice((1, 4, 100, 1 << 30))]
            case 2:  # a length, or another number
                size = rng.choice((1, 2, 4, 8))
                value = rng.choice((0, 1, 2 ** (8 * size) - 1, 2 ** (8 * size - 1), 255 % 2**size))
                out[at : at + size] = value.to_bytes(size, rng.choice(("little", "big")))
            case 3:
                out[at:at] = rng.choice(EXTREMES + WORDS)
            case 4:
                start = rng.randrange(len(other))
                out[at : at + rng.randrange(64)] = other[start : start + rng.randrange(200)]
            case 5:  # a field twice, or elsewhere
                size, to = rng.choice((2, 8, 30)), rng.randrange(len(out) + 1)
                out[to:to] = out[at : at + size]
            case 6:  # a number's digits
                digits = [i for i, byte in enumerate(out[:4000]) if 48 <= byte < 58]
                if digits:
                    place = rng.choice(digits)
                    out[place : place + 1] = rng.choice(EXTREMES)
            case 7 if rng.random() < 0.1:
                out = bytearray(out.decode("latin-1").encode(rng.choice(("utf-16", "utf-8"))))
    return bytes(out)


def forged(data: bytes, rng: random.Random) -> bytes:
    """Return JSON in which one value is another or missing; of an export, with a fitting hash."""
    value = json.loads(data)
    places = []

    def walk(node: object) -> None:
        items = node.items() if isinstance(node, dict) else enumerate(node)
        for key, child in items:
            places.append((node, key))
            if isinstance(child, dict | list):
                walk(child)

    walk(value)
    node, key = rng.choice(places)
    if rng.random() < 0.3:
        del node[key]
    else:
        node[key] = rng.choice(VALUES)
    if "hash" in value and "schema" in value:
        del value["hash"]
        try:
            value["hash"] = sha256_json(value)
        except UnicodeEncodeError:
            value["hash"] = ""
    return json.dumps(value).encode()


def fault(path: Path, read: Callable[[Path], object]) -> str | None:
    """Read a file; return what is wrong with how it ends."""

    def late(*_: object) -> None:
        raise Slow

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    printed = StringIO()  # logs, too: without a handler they go to the standard error
    message = ""
    try:
        with redirect_stdout(printed), redirect_stderr(printed):
            with warnings.catch_warnings(record=True) as said:
                read(path)
            message = " ".join(str(warning.message) for warning in said)
    except UserError as error:
        message = str(error)
        if len(message.splitlines()) != 1:
            return f"not one line: {message!r}"
        if not any(str(name) in message for name in (path, path.parents[path.suffix == ".xml"])):
            return f"does not name the file: {message}"
    except Slow:
        return f"takes more than {SECONDS} s"
    except BaseException as error:  # noqa: BLE001  # what this is to find
        return f"{type(error).__name__}: {error}"
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    message += printed.getvalue()
    return None if hides_the_patient(message) else f"names the patient: {message}"


def share(seed: int, count: int, kept: Path, part: tuple[int, int]) -> list[str]:
    """Try every file of a part; keep those that fail, and say how each did."""
    faults = []
    first, step = part
    with tempfile.TemporaryDirectory() as name:
        files = seeds(Path(name, "seed"))
        for index in range(first, count, step):
            rng = random.Random(f"{seed}/{index}")
            place, data, read = files[index % len(files)]
            json_like = place.endswith(".json") and rng.random() < 0.7
            changed = forged(data, rng) if json_like else mutated(data, rng.choice(files)[1], rng)
            if place == "d.dcm" and rng.random() < 20 * len(files) / max(count, 2000) / 6:
                read = read_apart
            path = Path(name, "file", place)
            path.parent.mkdir(parents=True, exist_ok=True)
            if read is read_export:
                export(path.parents[1])
            path.write_bytes(changed)
            if path.suffix == ".safetensors":  # its hash would tell at once
                _rehash(path)
            if problem := fault(path, read):
                kept.mkdir(parents=True, exist_ok=True)
                copy = kept / f"{seed}-{index}-{path.name}"
                copy.write_bytes(changed)
                faults.append(f"{copy}: {problem}")
    return faults


def _rehash(path: Path) -> None:
    stage = path.parent / "stage.json"
    info = json.loads(stage.read_text())
    del info["hash"]
    info["selections"]["last"]["sha256"] = sha256_file(path)
    stage.write_text(json.dumps({**info, "hash": sha256_json(info)}))


def fuzz(count: int, seed: int, kept: Path, processes: int = 1) -> list[str]:
    """Read mutated files; return a line for each that ends otherwise than it should.

    A file may be read, or refused by one line that names it and no patient. Files that fail are
    kept in `kept`, by seed and index; the same numbers make the same files.
    """
    parts = [(first, processes) for first in range(processes)]
    if processes == 1:
        return share(seed, count, kept, parts[0])
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        return [
            line for lines in pool.map(partial(share, seed, count, kept), parts) for line in lines
        ]


if __name__ == "__main__":
    number, chosen = (int(value) for value in (*sys.argv[1:], *("10000", "0")[len(sys.argv) - 1 :]))
    found = fuzz(number, chosen, Path(tempfile.gettempdir(), "xrj-fuzz"), processes=2)
    print("\n".join(found[:40]) or f"{number:,} files of seed {chosen}: no fault")
    sys.exit(bool(found))
