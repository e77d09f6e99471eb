import hashlib
import json
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.datamodules.layouts import report_xml, write_archive
from xrj.datamodules import download as module
from xrj.datamodules.download import CHECKSUMS, IMAGES, LICENCE, REPORTS, download, unpack_images
from xrj.datamodules.openi import read_reports
from xrj.datamodules.records import Counts
from xrj.errors import DataError
from xrj.files import locked


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.requests.append((self.path, self.headers.get("Range")))
        data = server.files.get(self.path.lstrip("/"))
        if data is None:
            self.send_error(404)
            return
        if server.failures:
            self.send_error(server.failures.pop())
            return
        start = 0
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if match and server.ranges:
            start = int(match[1])
            if start >= len(data):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(data)}")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        amount = server.break_after.pop() if server.break_after else len(data)
        self.wfile.write(data[start : start + amount])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.ranges, server.break_after, server.requests, server.failures = True, [], [], []
    (tmp_path / "served").mkdir()
    reports = write_archive(
        tmp_path / "served" / REPORTS,
        {f"ecgen-radiology/{i}.xml": report_xml(f"CXR{i}") for i in range(1, 50)},
    )
    images = write_archive(
        tmp_path / "served" / IMAGES,
        {f"CXR{i}_IM-1.png": b"png%d" % i for i in range(5)} | {"readme.txt": b"x"},
    )
    server.files = {path.name: path.read_bytes() for path in (reports, images)}
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def fetch(server, out, **changes):
    download(out, **{"accept_licence": True, "url_base": server.url, "timeout": 10.0} | changes)


def names(folder):
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def test_archives_are_fetched_recorded_and_unpacked(server, tmp_path, capsys):
    out = tmp_path / "out"
    fetch(server, out)
    assert LICENCE in capsys.readouterr().out
    assert names(out) == {REPORTS, IMAGES, CHECKSUMS, "NLMCXR_png"}
    assert names(out / "NLMCXR_png") == {f"CXR{i}_IM-1.png" for i in range(5)}
    assert (out / "NLMCXR_png" / "CXR3_IM-1.png").read_bytes() == b"png3"
    assert json.loads((out / CHECKSUMS).read_text()) == {
        name: hashlib.sha256(data).hexdigest() for name, data in server.files.items()
    }
    assert len(read_reports(out, Counts(), max_broken=0.0)) == 49
    server.requests.clear()
    fetch(server, out)
    assert server.requests == []


def test_the_reports_alone(server, tmp_path):
    fetch(server, tmp_path / "out", reports_only=True)
    assert names(tmp_path / "out") == {REPORTS, CHECKSUMS}


def test_without_the_licence_nothing_is_fetched(server, tmp_path):
    with pytest.raises(DataError, match=r"^[^\n]*CC BY-NC-ND 4\.0[^\n]*--accept-licence$"):
        fetch(server, tmp_path / "out", accept_licence=False)
    assert server.requests == []
    assert not (tmp_path / "out").exists()


def test_a_broken_off_connection_is_taken_up_again(server, tmp_path):
    server.break_after = [300, 500]
    fetch(server, tmp_path / "out", reports_only=True)
    assert (tmp_path / "out" / REPORTS).read_bytes() == server.files[REPORTS]
    assert [asked for _, asked in server.requests] == [None, "bytes=500-", "bytes=800-"]


def test_a_later_run_goes_on_where_the_first_stopped(server, tmp_path):
    out = tmp_path / "out"
    server.break_after = [0, 0, 0, 0, 0, 700]
    with pytest.raises(
        DataError,
        match=rf"^[^\n]*{REPORTS}: the connection broke off; run the same command again[^\n]*$",
    ):
        fetch(server, out, reports_only=True)
    assert names(out) == {f"{REPORTS}.part"}
    server.requests.clear()
    fetch(server, out, reports_only=True)
    assert server.requests == [(f"/{REPORTS}", "bytes=700-")]
    assert (out / REPORTS).read_bytes() == server.files[REPORTS]


def test_a_host_without_ranges_begins_anew(server, tmp_path):
    server.ranges, server.break_after = False, [700]
    fetch(server, tmp_path / "out", reports_only=True)
    assert (tmp_path / "out" / REPORTS).read_bytes() == server.files[REPORTS]


@pytest.mark.parametrize("extra", [b"", b"more"])
def test_a_part_that_is_whole_or_too_long(server, tmp_path, extra):
    out = tmp_path / "out"
    out.mkdir()
    (out / f"{REPORTS}.part").write_bytes(server.files[REPORTS] + extra)
    fetch(server, out, reports_only=True)
    assert names(out) == {REPORTS, CHECKSUMS}
    assert (out / REPORTS).read_bytes() == server.files[REPORTS]


def test_a_busy_host_is_asked_again(server, tmp_path):
    server.failures = [503, 500]
    fetch(server, tmp_path / "out", reports_only=True)
    assert len(server.requests) == 3


def test_a_wrong_checksum_keeps_the_new_file_out(server, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / CHECKSUMS).write_text(json.dumps({REPORTS: "0" * 64}))
    with pytest.raises(
        DataError, match=rf"^[^\n]*{REPORTS}: SHA-256 [^\n]* differs from 0000[^\n]*$"
    ):
        fetch(server, out, reports_only=True)
    assert names(out) == {CHECKSUMS}


def test_a_file_that_changed_on_disk_is_found(server, tmp_path):
    out = tmp_path / "out"
    fetch(server, out, reports_only=True)
    (out / REPORTS).write_bytes(b"changed")
    with pytest.raises(DataError, match=rf"^[^\n]*{REPORTS}: SHA-256 [^\n]* differs[^\n]*$"):
        fetch(server, out, reports_only=True)
    assert (out / REPORTS).read_bytes() == b"changed"


def test_what_is_no_archive_is_not_kept(server, tmp_path):
    server.files[REPORTS] = b"<html>maintenance</html>"
    with pytest.raises(DataError, match=rf"^[^\n]*{REPORTS}\.part: broken archive[^\n]*$"):
        fetch(server, tmp_path / "out", reports_only=True)
    assert names(tmp_path / "out") == set()


def test_what_a_mac_adds_is_not_unpacked(tmp_path):
    members = {"a/CXR1.png": b"x", "a/._CXR1.png": b"y", "__MACOSX/a/._CXR1.png": b"y"}
    unpack_images(write_archive(tmp_path / "a.tgz", members), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["CXR1.png"]


def test_an_unsafe_archive_is_not_unpacked(server, tmp_path):
    evil = write_archive(tmp_path / "evil.tgz", {"CXR1.png": b"x", "../evil.png": b"x"})
    server.files[IMAGES] = evil.read_bytes()
    with pytest.raises(DataError, match=r"^[^\n]*member '\.\./evil\.png' leads out[^\n]*$"):
        fetch(server, tmp_path / "out")
    assert names(tmp_path / "out") == {REPORTS, CHECKSUMS}
    assert not (tmp_path / "evil.png").exists()


@pytest.mark.parametrize(
    "members", [{"a/x.png": b"1", "b/x.png": b"2"}, {"x.png": b"1", "/y.png": b"2"}]
)
def test_unpacking_is_all_or_nothing(tmp_path, members):
    archive = write_archive(tmp_path / "a.tgz", members)
    with pytest.raises(DataError, match=r"^[^\n]*a\.tgz: [^\n]+$"):
        unpack_images(archive, tmp_path / "images")
    assert names(tmp_path) == {"a.tgz"}


def test_a_cut_archive_leaves_no_folder(tmp_path):
    archive = write_archive(
        tmp_path / "a.tgz", {f"{i}.png": hashlib.sha256(b"%d" % i).digest() * 99 for i in range(99)}
    )
    archive.write_bytes(archive.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"^[^\n]*a\.tgz: broken archive[^\n]*$"):
        unpack_images(archive, tmp_path / "images")
    assert names(tmp_path) == {"a.tgz"}


def test_an_unknown_address(server, tmp_path):
    with pytest.raises(
        DataError, match=r"^[^\n]*/elsewhere/NLMCXR_reports\.tgz: 404 [^\n]*--url-base$"
    ):
        fetch(server, tmp_path / "out", url_base=f"{server.url}/elsewhere/")
    with pytest.raises(DataError, match=r"^--url-base file:///etc: give an https[^\n]*$"):
        fetch(server, tmp_path / "out", url_base="file:///etc")


def test_a_host_that_is_not_there(server, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_TRIES", 1)
    with pytest.raises(
        DataError, match=r"^http://127\.0\.0\.1:9/[^\n]*run the same command again[^\n]*$"
    ):
        fetch(server, tmp_path / "out", url_base="http://127.0.0.1:9")


def test_a_second_download_into_one_folder_is_refused(server, tmp_path):
    with (
        locked(tmp_path / "out" / ".download.lock", wait=False),
        pytest.raises(DataError, match="another download is running"),
    ):
        fetch(server, tmp_path / "out")


def test_a_folder_that_cannot_be_written(server, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(DataError, match=r"^[^\n]*out: cannot be written \(File exists\)[^\n]*$"):
        fetch(server, tmp_path / "out")


def test_the_command(server, tmp_path):
    command = [
        sys.executable,
        "-m",
        "xrj.datamodules.download",
        "--out",
        str(tmp_path / "out"),
        "--url-base",
        server.url,
    ]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: IU X-Ray")
    assert refused.stderr.count("\n") == 1
    done = subprocess.run(
        [*command, "--reports-only", "--accept-licence"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / REPORTS).exists()
