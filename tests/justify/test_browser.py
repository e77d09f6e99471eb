"""The pages in a real browser: phone, paper, keyboard, no script, and nothing from the network."""

import re

import pytest

from tests.justify.handmade import certainty, made, made_evidence
from xrj.justify.output import write_index, write_justification
from xrj.justify.page import Measure, index_page

pytestmark = pytest.mark.slow
LABELS = ("normal", "cardiomegaly", "chronic_obstructive_pulmonary_disease_with_exacerbation")
LONG = "CXR_" + "0123456789" * 12 + ".png"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with an index of three justifications, with long names and labels."""
    folder = tmp_path_factory.mktemp("pages")
    found = made().found
    sheets = []
    for number, (share, truth, warnings) in enumerate(
        [(0.04, "normal", ()), (0.2, "cardiomegaly", ("It fails.",)), (0.1, "normal", ())]
    ):
        reading = type(found)(
            "normal", certainty(share, LABELS), found.caption, found.small, found.large
        )
        justification = made(
            image=LONG, found=reading, evidence=made_evidence(warnings=2 * warnings)
        )
        sheets.append(write_justification(justification, folder / str(number), truth))
    rows = [Measure("Balanced accuracy", "93.1 % (88.0 to 96.4)", "108", "mean over the labels")]
    page = index_page("Title", sheets, measures=rows, setting=LONG, skipped=[LONG])
    write_index(folder, page, sheets)
    return folder


@pytest.fixture
def visit(browser, folder):
    """Open a page of the folder; what the browser refuses or fetches elsewhere fails the test."""
    contexts, wrong = [], []

    def visit(path, width=1280, **options):
        context = browser.new_context(viewport={"width": width, "height": 800}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "request",
            lambda request: request.url.startswith(("file:", "data:")) or wrong.append(request.url),
        )
        address, _, fragment = path.partition("#")
        page.goto((folder / address).as_uri() + (f"#{fragment}" if fragment else ""))
        return page

    yield visit
    for context in contexts:
        context.close()
    assert not wrong


PAGES = ["index.html", "1/justification.html"]


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_nothing_is_wider_than_the_window(visit, path, width):
    page = visit(path, width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    broken = "[...document.images].filter(i => i.offsetParent && i.complete && !i.naturalWidth)"
    assert page.evaluate(f"{broken}.length") == 0


def test_a_justification_prints_on_two_pages(visit):
    paper = visit("1/justification.html").pdf(prefer_css_page_size=True)
    assert len(re.findall(rb"/Type\s*/Page\b", paper)) <= 2


def test_neighbours_are_reached_by_keyboard_and_touch_without_scripts_and_not_printed(visit):
    page = visit("0/justification.html", 390, has_touch=True, java_script_enabled=False)
    links = page.locator("nav a")
    assert links.all_text_contents() == [f"Next →: {LONG}", "All X-rays"]
    assert all(link.bounding_box()["height"] >= 44 for link in links.all())
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/1/justification.html")
    page.locator("nav a[rel=prev]").tap()
    page.wait_for_url("**/0/justification.html")
    page.get_by_text("All X-rays").tap()
    page.wait_for_url("**/index.html")
    page.go_back()
    page.emulate_media(media="print")
    assert page.locator("nav a:visible").count() == 0


def test_the_walk_can_be_stopped_and_stepped_through_by_keyboard(visit):
    page = visit("1/justification.html")
    shown = page.locator(".walk img:visible")
    assert "animation" in shown.get_attribute("alt")
    page.locator("#step-1").focus()
    page.keyboard.press("Space")
    assert "step 1 of 5" in shown.get_attribute("alt")
    page.keyboard.press("ArrowRight")
    assert "step 2 of 5" in shown.get_attribute("alt")
    page.get_by_label("Animate").check(force=True)
    assert "animation" in shown.get_attribute("alt")


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_nothing_moves_where_motion_is_unwelcome(visit, motion):
    page = visit("1/justification.html", reduced_motion=motion)
    image = page.locator(".moving img")
    current, moving = image.evaluate("i => [i.currentSrc, i.src]")
    assert (current == moving) == (motion == "no-preference")


def test_the_index_filters_sorts_and_keeps_it_in_the_address(visit):
    page = visit("index.html")
    links = page.locator(".sheets h3 a:visible")

    def order():
        return [link.get_attribute("href")[0] for link in links.all()]

    assert order() == ["0", "1", "2"]
    page.locator("[name=sort]").select_option("least certain")
    assert order() == ["1", "2", "0"]
    page.locator("[name=outcome]").select_option("right")
    assert order() == ["2", "0"]
    assert page.locator("output").inner_text() == "2 of 3 shown"
    again = visit(f"index.html#{page.url.partition('#')[2]}")
    assert [a.get_attribute("href")[0] for a in again.locator(".sheets h3 a:visible").all()] == [
        *("2", "0")
    ]
    page.get_by_role("button", name="Show all").click()
    page.wait_for_function("document.querySelector('output').textContent == '3 of 3 shown'")
    page.locator("[name=checks]").select_option("some failed")
    assert order() == ["1"]


def test_the_index_reads_without_scripts(visit):
    page = visit("index.html", java_script_enabled=False)
    assert page.locator(".sheets h3 a:visible").count() == 3
    assert page.locator("form:visible").count() == 0


def test_a_strange_address_shows_everything(visit):
    page = visit("index.html#outcome=nonsense&length=3&toString=1&sort=x")
    assert page.locator("output").inner_text() == "3 of 3 shown"
