"""The page in a real browser: upload, wait, read, download; wrong files; two people at once."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from tests.browser import Visitor
from tests.datamodules.radiographs import as_bytes, radiograph
from tests.justify.handmade import LARGE
from tests.web.pages import as_png, page_app, running, xray
from xrj.datamodules.images import resize

RESULT = "text=The X-ray, and the same X-ray were it cardiomegaly"


@pytest.fixture
def visit(browser, work):
    """Open windows on a page; in the end nothing may have left the server."""
    visitors = []
    with running(page_app(work)) as url:

        def open_window(**options):
            visitors.append(Visitor(browser, url, **options))
            visitors[-1].page.goto("/")
            return visitors[-1]

        yield open_window
        work.gate.set()
        for visitor in visitors:
            visitor.context.close()
    for visitor in visitors:
        assert visitor.foreign == []


def choose(page, data, name="scan.png"):
    page.set_input_files("input", {"name": name, "mimeType": "image/png", "buffer": data})


def upload(page, data, name="scan.png"):
    choose(page, data, name)
    page.click("form button")


def download(page):
    """Click the link; return the original's pixels out of the archive."""
    with page.expect_download() as event:
        page.click("text=Download")
    with zipfile.ZipFile(event.value.path()) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("/original.png")]
        return np.asarray(Image.open(io.BytesIO(archive.read(name))))


@pytest.mark.parametrize("script", [True, False], ids=["with script", "without script"])
def test_upload_wait_read_download_remove(visit, work, script):
    work.gate.clear()
    visitor = visit(java_script_enabled=script, viewport={"width": 390, "height": 800})
    page = visitor.page
    assert page.title() == "Justify a chest X-ray"
    pixels = xray()
    upload(page, as_png(pixels))
    page.wait_for_url("**/xrays/*")
    assert page.inner_text("h1") == "Your X-ray has arrived"
    assert page.locator("progress").is_visible()
    work.gate.set()
    page.wait_for_selector(RESULT)
    assert page.inner_text("h1").lower() == "normal"
    assert np.array_equal(download(page), resize(pixels, LARGE))
    if script:
        assert visitor.fits()
        shown = page.locator("img:visible").evaluate_all("all => all.map(img => img.naturalWidth)")
        assert len(shown) > 6
        assert min(shown) > 0
        assert page.evaluate("getComputedStyle(document.querySelector('.box')).padding") != "0px"
    result = page.url
    page.click("text=Remove now")
    page.wait_for_url("**/")
    assert visitor.errors == []
    page.goto(result)
    assert "has been removed" in page.inner_text("[role=alert]")


WRONG = {
    "no picture": (b"hello", "This file is neither PNG, JPEG nor DICOM"),
    "lateral": (as_bytes(radiograph(xray(), ViewPosition="LL")), "a lateral view (View Position)"),
    "too large": (bytes(1_500_000), "make it smaller"),
}


@pytest.mark.parametrize(
    ("kind", "script"),
    [("no picture", True), ("lateral", True), ("too large", True), ("too large", False)],
)
def test_a_wrong_file_is_said_where_it_was_chosen(visit, kind, script):
    data, reason = WRONG[kind]
    visitor = visit(java_script_enabled=script)
    upload(visitor.page, data)
    alert = visitor.page.locator("[role=alert]:visible")
    alert.wait_for()
    assert reason in alert.inner_text()
    if script:  # and the next one can follow at once
        assert visitor.page.url.endswith("/")
        upload(visitor.page, as_png(xray()))
        visitor.page.wait_for_selector(RESULT)
    assert all("the server responded with a status of 4" in error for error in visitor.errors)


def test_an_upload_that_is_cut_off_is_said_and_can_be_sent_again(visit):
    page = visit().page
    page.route("**/xrays", lambda route: route.abort("connectionreset"))
    upload(page, as_png(xray()))
    alert = page.locator("[role=alert]:visible")
    alert.wait_for()
    assert "try again" in alert.inner_text()
    page.unroute("**/xrays")
    page.click("form button")  # the file is still chosen
    page.wait_for_selector(RESULT)


def test_two_at_once_get_each_their_own(visit, work):
    work.gate.clear()
    pictures = [xray(1), xray(2), xray(3)]
    visitors = [visit() for _ in pictures]
    for visitor, pixels in zip(visitors, pictures, strict=True):
        upload(visitor.page, as_png(pixels))
        visitor.page.wait_for_selector(".wait img")
    visitors[-1].page.wait_for_selector("text=before yours")
    work.gate.set()
    for visitor, pixels in zip(visitors, pictures, strict=True):
        visitor.page.wait_for_selector(RESULT)
        assert np.array_equal(download(visitor.page), resize(pixels, LARGE))
        assert visitor.errors == []


def drop(page, *names):
    """Drop files on the form as a mouse would."""
    page.evaluate(
        """names => {
            const transfer = new DataTransfer();
            for (const name of names) transfer.items.add(new File(["x"], name));
            const event = { bubbles: true, cancelable: true, dataTransfer: transfer };
            const form = document.querySelector("form");
            form.dispatchEvent(new DragEvent("dragenter", event));
            form.dispatchEvent(new DragEvent("drop", event));
        }""",
        list(names),
    )


def test_an_xray_can_be_dropped(visit):
    page = visit().page
    drop(page, "one.png", "two.png")
    assert page.inner_text("[role=alert]") == "Drop one file at a time."
    drop(page, "one.png")
    assert page.locator("[role=alert]").is_hidden()
    assert page.evaluate("document.querySelector('input').files[0].name") == "one.png"
    page.keyboard.press("Enter")
    page.wait_for_selector("[role=alert]:visible")
    assert "neither PNG, JPEG nor DICOM" in page.inner_text("[role=alert]")


def test_a_keyboard_is_enough(visit):
    page = visit().page
    choose(page, as_png(xray()))
    page.focus("input")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector(RESULT)


@pytest.mark.parametrize("width", [320, 1280])
def test_every_page_fits_its_window(visit, work, width):
    work.gate.clear()
    visitor = visit(viewport={"width": width, "height": 800})
    assert visitor.fits()
    upload(visitor.page, as_png(xray()), name="a-very-long-name-" * 6 + ".png")
    visitor.page.wait_for_selector(".wait")
    assert visitor.fits()
    work.gate.set()
    visitor.page.wait_for_selector(RESULT)
    assert visitor.fits()
    visitor.page.goto("/nothing")
    assert visitor.fits()
