"""The pages: self-contained, well formed, safe with any file name."""

from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from urllib.parse import unquote

import pytest

from xrj.justify.output import write_justification
from xrj.justify.page import Measure, in_words, index_page, justification_page, marked, percent

NASTY = '"><script>alert(1)&amp; #?%41.png'
VOID = {"meta", "img", "br", "link", "hr"}


class Page(HTMLParser):
    """Tags, attributes and text of a page; fails where tags do not nest."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.text = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


@pytest.fixture
def sheet(justification, model, tmp_path):
    named = replace(justification, image=f"folder/{NASTY}")
    return write_justification(named, model, tmp_path / NASTY, truth="normal")


def pages(sheet):
    rows = [Measure("Accuracy <b>", "97 %", "108", "right & wrong")]
    index = index_page("Title <1>", [sheet, sheet], measures=rows, setting="s", skipped=["<x>"])
    return {"justification": justification_page(sheet), "index": index}


@pytest.mark.parametrize("kind", ["justification", "index"])
def test_a_page_needs_nothing_from_outside(sheet, kind):
    text = pages(sheet)[kind]
    page = Page(text)
    assert "http:" not in text
    assert "https:" not in text
    assert "url(" not in text
    assert "@import" not in text
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert page.all("img")
    assert all(image["src"].startswith("data:image/png;base64,") for image in page.all("img"))


@pytest.mark.parametrize("kind", ["justification", "index"])
def test_a_page_is_accessible(sheet, kind):
    page = Page(pages(sheet)[kind])
    assert all(len(image["alt"]) > 10 for image in page.all("img"))
    assert page.all("html") == [{"lang": "en"}]
    levels = [int(tag[1]) for tag, _ in page.tags if tag in ("h1", "h2", "h3")]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


@pytest.mark.parametrize("kind", ["justification", "index"])
def test_a_nasty_file_name_stays_text(sheet, kind):
    page = Page(pages(sheet)[kind])
    assert NASTY in page.words
    assert not page.all("script")


def test_links_of_the_index_lead_to_the_folders(sheet, tmp_path):
    page = Page(pages(sheet)["index"])
    for link in page.all("a"):
        assert (tmp_path / unquote(link["href"])).is_file()


def test_the_page_says_what_was_found(sheet):
    words = Page(justification_page(sheet)).words
    record = sheet.record
    assert record["diagnosis"] in words
    assert percent(record["certainty"][record["diagnosis"]]) in words
    assert "not for clinical decisions" in words
    assert record["model"]["split"][:12] in words
    assert record["model"]["stages"]["inverse"][:12] in words
    assert "true label is normal" in words
    assert f"−{sheet.limit}" in words


@pytest.mark.parametrize("kind", ["justification", "index"])
def test_a_search_that_failed_is_plain_to_see(sheet, kind):
    def with_converged(value):
        other = sheet.record["alternative"] | {"converged": value}
        page = Page(pages(replace(sheet, record=sheet.record | {"alternative": other}))[kind])
        return [attributes for _, attributes in page.tags if attributes.get("role") == "alert"]

    assert with_converged(False)
    assert not with_converged(True)


def test_without_a_true_label_nothing_is_right_or_wrong(sheet):
    words = Page(justification_page(replace(sheet, truth=None))).words
    assert "true label" not in words


def test_the_index_shows_measures_and_what_was_skipped(sheet):
    page = Page(pages(sheet)["index"])
    assert "Accuracy <b>" in page.words
    assert "<x>" in page.words
    assert not page.all("b")
    bare = Page(index_page("Title", [sheet]))
    assert not bare.all("table")
    assert "Skipped" not in bare.words


def test_words_that_differ_are_marked():
    runs = marked("the heart is normal in size", "the heart is enlarged in size")
    assert runs == [("the heart is", False), ("normal", True), ("in size", False)]
    assert marked("", "anything") == []
    assert marked("same words", "same words") == [("same words", False)]


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "< 1 %"), (0.004, "< 1 %"), (0.5, "50 %"), (0.994, "99 %"), (1.0, "> 99 %")],
)
def test_percent_never_claims_certainty(share, text):
    assert percent(share) == text


def test_certainty_in_words_falls_with_certainty():
    said = [in_words(share) for share in (0.99, 0.9, 0.7, 0.51)]
    assert said == ["very certain", "fairly certain", "somewhat certain", "uncertain"]
