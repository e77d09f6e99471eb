"""The pages: self-contained, well formed, for everybody, safe with any file name."""

import base64
import hashlib
import re
from dataclasses import replace
from itertools import pairwise

import pytest

from tests.justify.handmade import ctr_change, made, made_evidence, made_mapping
from tests.justify.page_parser import Page
from xrj.justify.output import render
from xrj.justify.page import PAGES, Calibration, Measure, index_page
from xrj.justify.wording import in_words, marked, percent

NASTY = '"><script>alert(1)&amp; #?%41.png'
KINDS = ("justification", "index")


def rendered(truth="normal", calibration=None, folder=NASTY, **changes):
    justification = made(image=f"folder/{NASTY}", calibration=calibration, **changes)
    return render(justification, folder, truth)


def text_of(kind, **changes):
    if kind == "justification":
        return rendered(**changes).files["justification.html"].decode()
    rows = [Measure("Accuracy <b>", "97 %", "108", "right & wrong")]
    sheet = rendered(**changes).sheet
    return index_page("Title <1>", [sheet, sheet], measures=rows, setting="s", skipped=["<x>"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_needs_nothing_from_outside(kind):
    text = text_of(kind)
    page = Page(text)
    assert not {"link", "iframe", "object", "embed", "base"} & {tag for tag, _ in page.tags}
    assert not re.search(r"https?:|url\((?!#)|@import|@font-face", text)
    addresses = [image["src"] for image in page.all("img")]
    addresses += [source["srcset"] for source in page.all("source")]
    start = ("data:image/png;base64,", "data:image/webp;base64,")
    if kind == "index":
        assert all("://" not in address and address[0] not in "/." for address in addresses)
    else:
        assert all(address.startswith(start) for address in addresses)


def test_the_two_widths_are_drawn_on_the_xray_and_both_generated_pictures():
    text = text_of("justification")
    assert "0.45 → 0.57</strong> from 2 to 3, 0.46 in the X-ray" in text
    lines = re.findall(r'<path class="(\w+)" d="M([\d.]+) ([\d.]+)v4m0 -2H([\d.]+)m0 -2v4"/>', text)
    assert lines == [
        line
        for left, right in (("31.60", "68.40"), ("32.00", "68.00"), ("27.20", "72.80"))
        for line in (("thorax", "10.00", "63.00", "90.00"), ("heart", left, "58.00", right))
    ]


def test_only_what_is_measured_is_drawn():
    evidence = made_evidence(ctr=ctr_change(0.46, 0.45, None, 1))
    text = text_of("justification", evidence=evidence)
    assert text.count('<path class="heart"') == 2
    assert "→" not in text.split('id="words"')[0].split('id="pictures"')[1]
    assert '<path class="heart"' not in text_of("justification", evidence=made_evidence(ctr=None))


@pytest.mark.parametrize("kind", KINDS)
def test_the_policy_allows_the_pages_own_style_and_script_and_no_other(kind):
    text = text_of(kind)
    policy = Page(text).all("meta")[1]
    assert policy["http-equiv"] == "Content-Security-Policy"
    rules = dict(rule.split(" ", 1) for rule in policy["content"].split("; "))
    assert rules["default-src"] == "'none'"
    for tag in ("style", "script"):
        inline = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digests = [base64.b64encode(hashlib.sha256(part.encode()).digest()) for part in inline]
        allowed = [rules[f"{tag}-src"]] if f"{tag}-src" in rules else []
        assert allowed == [f"'sha256-{digest.decode()}'" for digest in digests]
    assert not re.search(r'\s(style|on\w+)="', text)


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_has_its_landmarks_headings_and_alternatives(kind):
    page = Page(text_of(kind))
    assert page.all("html") == [{"lang": "en"}]
    assert all(len(page.all(tag)) == 1 for tag in ("header", "main", "footer", "title"))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for section in page.all("section"):
        assert section["aria-labelledby"] in ids
    images = [image["alt"] for image in page.all("img")]
    # Labels name the thumbnails, and the outline lies over a picture with a name.
    thumbnails = len(made().walk) + 1 if kind == "justification" else 0
    assert sum(not alt for alt in images) == thumbnails
    assert all(len(alt) > 10 for alt in images if alt)


@pytest.mark.parametrize("kind", KINDS)
def test_a_nasty_file_name_stays_text(kind):
    page = Page(text_of(kind))
    assert NASTY in page.words
    assert len(page.all("script")) == 1


def test_the_page_stays_small_at_full_size():
    assert len(text_of("justification")) < 300_000


def test_the_page_says_what_was_found():
    page = Page(text_of("justification"))
    record = rendered().sheet.record
    for part in (
        "96 %",
        "very certain",
        "not for clinical decisions",
        "the true label is normal",
        "The alternative is cardiomegaly",
        *(value[:12] for value in record["model"]["stages"].values()),
        record["model"]["split"][:12],
    ):
        assert part in page.words
    for heading in ("What was checked", "What am I looking at?"):
        assert heading in page.words


def test_the_page_says_which_comparison_is_evidence():
    words = Page(text_of("justification")).words
    assert "From 2 to 3: the evidence" in words
    assert "From 1 to 3: no evidence" in words
    assert "Only the change from 2 to 3 is evidence" in words


def test_changed_words_are_marked_for_eyes_and_ears():
    text = text_of("justification")
    assert re.search(r"<mark>.*?\[changed:.*?mildly enlarged", text)
    assert "[changed: normal in size ]" in Page(text).words


def test_each_step_of_the_walk_can_be_chosen_and_has_its_certainty():
    page = Page(text_of("justification"))
    radios = [attributes for attributes in page.all("input") if attributes["type"] == "radio"]
    assert [radio.get("id") for radio in radios] == [None, *(f"step-{k}" for k in range(1, 6))]
    assert [("checked" in radio) for radio in radios] == [True] + 5 * [False]
    assert "Step 3: cardiomegaly 51 %" in page.words
    style = str(PAGES.globals["style"])
    assert all(f"#step-{k}:checked) .still-{k}" in style for k in range(1, 6))


def test_heat_maps_say_whether_they_depend_on_the_diagnosis():
    page = Page(text_of("justification"))
    assert page.words.count("class-agnostic: the same for every diagnosis") == 2
    assert "Gradcam for normal" in page.words
    bare = Page(text_of("justification", saliency=(), found_by_classifier=None))
    assert "where a classifier looks" not in bare.words


def test_calibration_is_stated_or_said_to_be_unknown():
    measured = Page(text_of("justification", calibration=Calibration(0.034, 108))).words
    assert "108 test X-rays" in measured
    assert "3.4 percentage points" in measured
    assert "calibrated was not measured" in Page(text_of("justification")).words


@pytest.mark.parametrize("kind", KINDS)
def test_a_failed_check_is_plain_to_see(kind):
    failed = Page(text_of(kind, evidence=made_evidence(warnings=("It <b>fails</b>.",))))
    assert "It <b>fails</b>." in failed.words
    first_section = next(attributes for tag, attributes in failed.tags if tag == "section")
    assert (first_section.get("role") == "alert") == (kind == "justification")
    passed = Page(text_of(kind))
    assert not [one for _, one in passed.tags if one.get("role") == "alert"]


@pytest.mark.parametrize(
    ("changes", "heading"),
    [
        ({"frontal": False}, "not recognised as a frontal chest X-ray"),
        ({"frontal": False, "unlike": "a negative"}, "not recognised as a frontal chest X-ray"),
        ({"frontal": True, "unlike": "unlike"}, "unlike the X-rays of the training"),
        ({"frontal": None, "unlike": None}, "normal"),
    ],
)
def test_no_diagnosis_stands_as_the_title_of_a_strange_xray(changes, heading):
    evidence = made_evidence(warnings=("It is strange.",), **changes)
    one = render(made(evidence=evidence), "x")
    page = one.files["justification.html"].decode()
    (title,) = re.findall(r"<h1>(.*?)</h1>", page)
    assert title == f'<span class="label">{heading}</span>'
    assert f"<title>{heading}: " in page
    assert ("cannot be relied on: normal" in page) == (heading != "normal")
    index = index_page("", [one.sheet])
    assert f'<span class="label">{heading}</span>' in index
    assert f'data-diagnosis="{heading}"' in index
    assert ("answers normal" in index) == (heading != "normal")


@pytest.mark.parametrize(
    ("identity", "said"),
    [
        ({"data": "phantom", "trained_on": 680}, "680 rendered phantoms, not on patients"),
        ({"data": "manifest", "trained_on": 4077}, "4,077 X-rays that its maker chose"),
        ({"data": "iu_xray", "trained_on": None}, "X-rays of the public collection IU X-Ray"),
    ],
)
def test_page_and_index_say_what_the_model_was_trained_on(identity, said):
    made_page = render(made(model={"name": "mine", **identity}), "x")
    for text in (made_page.files["justification.html"].decode(), index_page("", [made_page.sheet])):
        assert f"Trained on {said}" in Page(text).words
        assert ('class="badge phantoms"' in text) == (identity["data"] == "phantom")


def test_without_a_true_label_nothing_is_right_or_wrong():
    assert "true label" not in Page(text_of("justification", truth=None)).words
    index = Page(text_of("index", truth=None))
    assert [select["name"] for select in index.all("select")] == [
        *("diagnosis", "checks", "alternative", "certainty", "sort")
    ]


def test_a_model_that_only_has_a_name_is_enough():
    page = render(made(model={"name": "mine"}), "x").files["justification.html"].decode()
    assert "Model mine ; xrj" in Page(page).words


def test_many_labels_and_words_out_of_the_vocabulary_are_shown():
    labels = ("normal", "cardiomegaly", "ødem & <i>væske</i>")
    found = replace(
        made().found,
        certainty=dict(zip(labels, (0.7, 0.2, 0.1), strict=True)),
        caption="the <oov> is small",
    )
    words = Page(text_of("justification", found=found)).words
    assert labels[2] in words
    assert "[rare word]" in words


def test_the_index_shows_measures_and_what_was_skipped():
    page = Page(text_of("index"))
    assert "Accuracy <b>" in page.words
    assert "<x>" in page.words
    assert not page.all("b")
    bare = Page(index_page("Title", [rendered().sheet]))
    assert not bare.all("table")
    assert "Skipped" not in bare.words


def test_the_index_carries_what_it_filters_and_sorts_by():
    failed = rendered(
        truth="cardiomegaly",
        mapping=made_mapping(converged=False),
        evidence=made_evidence(warnings=("a", "b")),
    ).sheet
    page = Page(index_page("Title", [rendered().sheet, failed]))
    good, bad = (item for item in page.all("li") if "data-diagnosis" in item)
    assert (good["data-outcome"], bad["data-outcome"]) == ("right", "wrong")
    assert (good["data-checks"], bad["data-checks"]) == ("all passed", "some failed")
    assert (good["data-failed"], bad["data-failed"]) == ("0", "2")
    assert (good["data-alternative"], bad["data-alternative"]) == ("found", "not found")
    assert good["data-certainty"] == "very certain"
    assert float(good["data-certain"]) == pytest.approx(0.96)
    form = page.all("form")[0]
    assert "hidden" in form


def test_an_index_of_many_stays_small_and_loads_lazily():
    sheet = rendered(folder="CXR1000_IM-0001-1001").sheet
    text = index_page("Title", [sheet] * 500)
    assert len(text) < 1_000_000
    assert all(image["loading"] == "lazy" for image in Page(text).all("img"))


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
