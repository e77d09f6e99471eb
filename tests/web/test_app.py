"""The page: what goes in, what comes out, what is refused, what is forgotten."""

import io
import json
import time
import zipfile
from html.parser import HTMLParser

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.datamodules.radiographs import as_bytes, hides_the_patient, planted, radiograph
from tests.datamodules.test_images import bomb
from tests.justify.handmade import LARGE
from tests.web.pages import as_png, page_app, running, xray
from xrj.datamodules.images import resize

JSON = {"accept": "application/json"}


def send(client, data, name="scan.png", **options):
    return client.post("/xrays", files={"xray": (name, data)}, **options)


def finished(client, url):
    """Wait for a job; return what JSON says of it."""
    for _ in range(1500):
        answer = client.get(url, headers=JSON).json()
        if answer["state"] in ("done", "failed"):
            return answer
        time.sleep(0.04)
    raise AssertionError("never finished")


def unzipped(client, page):
    """Return the files that a result's page offers."""
    (link,) = [href for href in Links(page).found if href.endswith(".zip")]
    response = client.get(link)
    assert response.headers["content-type"] == "application/zip"
    assert "attachment" in response.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


class Links(HTMLParser):
    """The links of a page."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag == "a":
            self.found.append(dict(attrs)["href"])


def test_an_upload_comes_back_justified(client):
    pixels = xray()
    response = send(client, as_png(pixels))
    assert response.status_code == 303
    url = response.headers["location"]
    answer = finished(client, url)
    assert answer["justification"]["diagnosis"] == "normal"
    page = client.get(url).text
    assert "The X-ray, and the same X-ray were it cardiomegaly" in page
    files = unzipped(client, page)
    (folder,) = {name.split("/")[0] for name in files}
    assert json.loads(files[f"{folder}/justification.json"]) == answer["justification"]
    assert f"{folder}/justification.html" in files
    original = np.asarray(Image.open(io.BytesIO(files[f"{folder}/original.png"])))
    assert np.array_equal(original, resize(pixels, LARGE))


def test_scripts_get_json(client):
    response = send(client, as_png(xray()), headers=JSON)
    assert response.status_code == 202
    assert finished(client, response.json()["url"])["state"] == "done"


def test_the_report_in_the_download_is_the_reports_own(client):
    url = send(client, as_png(xray())).headers["location"]
    finished(client, url)
    page = client.get(url).text
    files = unzipped(client, page)
    (report,) = [data.decode() for name, data in files.items() if name.endswith(".html")]
    assert "Remove now" in page
    assert "Remove now" not in report
    assert "Content-Security-Policy" in report


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
def test_no_name_of_a_patient_comes_out(client, caplog, capfd):
    pixels = xray(shape=(40, 30))
    data = as_bytes(planted(radiograph(pixels, BodyPartExamined="CHEST", ViewPosition="PA")))
    caplog.clear()  # of what writing such a file warns
    capfd.readouterr()
    url = send(client, data, name="DOE^JANE_4711.dcm").headers["location"]
    finished(client, url)
    response = client.get(url)
    texts = [url, response.text, str(response.headers), client.get(url, headers=JSON).text]
    for name, content in unzipped(client, response.text).items():
        texts += [name, content.decode("latin-1")]
        if name.endswith((".png", ".webp")):
            texts.append(str(Image.open(io.BytesIO(content)).info))
    captured = capfd.readouterr()
    texts += [caplog.text, captured.out, captured.err]
    assert [text[:200] for text in texts if not hides_the_patient(text)] == []


def test_a_doubt_about_an_upload_is_told(client):
    data = as_bytes(radiograph(xray(shape=(40, 30)), BodyPartExamined="XYZ"))
    url = send(client, data).headers["location"]
    (doubt,) = finished(client, url)["doubts"]
    assert "Body Part Examined" in doubt
    assert doubt in client.get(url).text


def test_a_decoder_that_does_not_start_is_not_the_uploads_fault(client, monkeypatch):
    monkeypatch.setattr("xrj.datamodules.apart.sys.executable", "/bin/false")
    response = send(client, as_png(xray()), headers=JSON)
    assert response.status_code == 503
    assert "/bin/false" not in response.text


def without_pixels():
    dataset = radiograph(xray())
    del dataset.PixelData
    return as_bytes(dataset)


REFUSED = {
    "text": (b"hello, I am no picture", 415, "neither PNG, JPEG nor DICOM"),
    "gif": (b"GIF89a" + bytes(50), 415, "neither PNG, JPEG nor DICOM"),
    "page": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "neither PNG, JPEG nor DICOM"),
    "empty": (b"", 422, "no file was sent"),
    "cut short": (as_png(xray())[:500], 422, "broken image"),
    "too many pixels": (as_png(xray(shape=(400, 300))), 422, "more than 100,000"),
    "bomb": (bomb(60_000), 422, "this file: "),
    "no pixels": (without_pixels(), 422, "no pixel data"),
    "lying length": (as_bytes(radiograph(xray(), Rows=100)), 422, "cut short"),
    "2^31 pixels": (as_bytes(radiograph(xray(), Rows=32_769, Columns=65_535)), 422, "more than"),
    "lateral": (as_bytes(radiograph(xray(), ViewPosition="LL")), 422, "lateral view"),
    "too large": (bytes(1_000_001), 413, "more than 1,000,000 bytes"),
    "far too large": (bytes(3_000_000), 413, "more than 1,000,000 bytes"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_wrong_upload_is_refused_with_the_reason(client, kind):
    data, status, reason = REFUSED[kind]
    page = send(client, data)
    assert page.status_code == status
    assert reason.lower() in page.text.lower()
    assert 'role="alert"' in page.text
    answer = send(client, data, headers=JSON)
    assert answer.status_code == status
    assert reason in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


def test_an_upload_without_a_stated_length_is_stopped_at_the_limit(client):
    sent = 0

    def body():
        nonlocal sent
        yield b'--x\r\nContent-Disposition: form-data; name="xray"; filename="a"\r\n\r\n'
        for _ in range(200):
            sent += 100_000
            yield bytes(100_000)

    kind = {"content-type": "multipart/form-data; boundary=x"}
    response = client.post("/xrays", content=body(), headers=kind | JSON)
    assert response.status_code == 413


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"xray=1", "application/x-www-form-urlencoded"),
        (as_png(xray()), "image/png"),
        (b"--x--", "multipart/form-data; boundary=x"),
        (b"no boundary", "multipart/form-data"),
        (b"--x\r\nnothing", "multipart/form-data; boundary=x"),
    ],
)
def test_a_form_of_another_kind_is_refused(client, content, kind):
    response = client.post("/xrays", content=content, headers={"content-type": kind} | JSON)
    assert response.status_code in (400, 422)
    assert "\n" not in response.json()["error"]


def test_two_files_at_once_are_refused(client):
    files = [("xray", ("a.png", as_png(xray()))), ("xray", ("b.png", as_png(xray(1))))]
    assert client.post("/xrays", files=files).status_code == 400


def test_a_full_queue_asks_to_come_back(work):
    work.gate.clear()
    app = page_app(work, max_waiting=2, batch=1)
    with running(app) as url, httpx.Client(base_url=url) as client:
        urls = [send(client, as_png(xray()))]
        while client.get(urls[0].headers["location"], headers=JSON).json()["state"] == "waiting":
            time.sleep(0.01)
        urls += [send(client, as_png(xray(seed))) for seed in (1, 2)]
        assert [response.status_code for response in urls] == [303] * 3
        full = send(client, as_png(xray(3)))
        assert full.status_code == 503
        assert int(full.headers["retry-after"]) > 0
        assert "Too many X-rays" in full.text
        work.gate.set()
        for response in urls:
            assert finished(client, response.headers["location"])["state"] == "done"
        assert send(client, as_png(xray(3))).status_code == 303
        assert set(work.batches) == {1}


def test_those_who_wait_see_their_place_and_their_xray(client, work):
    work.gate.clear()
    urls = [send(client, as_png(xray(seed))).headers["location"] for seed in range(6)]
    while client.get(urls[0], headers=JSON).json()["state"] != "working":
        time.sleep(0.01)
    before = [client.get(url, headers=JSON).json() for url in urls]
    working = [answer["before"] for answer in before if answer["state"] == "working"]
    waiting = [answer["before"] for answer in before if answer["state"] == "waiting"]
    assert set(working) == {0}
    assert waiting == list(range(len(working), 6))
    page = client.get(urls[-1])
    assert "5 X-rays before yours" in page.text
    assert '<meta http-equiv="refresh"' in page.text
    assert 'src="data:image/png;base64,' in page.text
    work.gate.set()
    assert {finished(client, url)["state"] for url in urls} == {"done"}
    assert sum(work.batches) == 6
    assert max(work.batches) <= 4


def test_one_xray_that_fails_fails_alone(client, work, caplog):
    work.gate.clear()
    work.broken.add(77)
    corners = (1, 77, 3, 4)
    urls = [send(client, as_png(xray(c, corner=c))).headers["location"] for c in corners]
    work.gate.set()
    states = [finished(client, url)["state"] for url in urls]
    assert states == ["done", "failed", "done", "done"]
    page = client.get(urls[1])
    assert page.status_code == 500
    assert "its terminal says why" in page.text
    assert "as the test wants it" in caplog.text
    assert "as the test wants it" not in page.text


def test_a_result_can_be_removed(client):
    url = send(client, as_png(xray())).headers["location"]
    finished(client, url)
    name = client.get(url, headers=JSON).json()["justification"]["image"]
    assert client.get(f"{url}/{name}.zip").status_code == 200
    response = client.post(f"{url}/remove")
    assert (response.status_code, response.headers["location"]) == (303, "/")
    for gone in (url, f"{url}/{name}.zip"):
        page = client.get(gone)
        assert page.status_code == 404
        assert "has been removed" in page.text
    assert client.post(f"{url}/remove").status_code == 404


def test_the_address_of_the_form_leads_to_the_page(client):
    response = client.get("/xrays")
    assert (response.status_code, response.headers["location"]) == (303, "/")


def test_addresses_cannot_be_guessed(client):
    urls = [send(client, as_png(xray())).headers["location"] for _ in range(2)]
    assert urls[0] != urls[1]
    assert all(len(url.removeprefix("/xrays/")) >= 22 for url in urls)
    for guess in ("/xrays/1", f"{urls[0]}x", "/xrays/%00"):
        assert client.get(guess).status_code == 404
