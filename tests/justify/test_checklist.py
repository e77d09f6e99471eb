"""The evidence as a list for people."""

import pytest

from tests.justify.handmade import ctr_change, made, made_evidence, made_mapping, vote
from xrj.justify.checklist import checklist
from xrj.justify.output import render
from xrj.justify.words import Words


def checks(**changes):
    record = render(made(**changes), "x").sheet.record
    return {check.name: check for group in checklist(record) for check in group.checks}


def statuses(**changes):
    return {check.status for check in checks(**changes).values()}


def test_a_good_justification_fails_nothing_and_was_checked_everywhere():
    assert statuses() == {"pass", "measured"}
    groups = checklist(render(made(), "x").sheet.record)
    assert [len(group.checks) for group in groups] == [2, 7, 5, 3, 3]
    assert all(check.result.endswith(".") for group in groups for check in group.checks)


FAILS = {
    "A frontal chest: one heart between two lungs": {"evidence": made_evidence(frontal=False)},
    "Like the X-rays that the network learned from": {
        "evidence": made_evidence(unlike="a negative")
    },
    "Search for the alternative": {"mapping": made_mapping(converged=False)},
    "Picture 3 itself, read by the network": {
        "evidence": made_evidence(reencoded=vote(0.2, "cardiomegaly"))
    },
    "Picture 3, read by an independent classifier": {
        "evidence": made_evidence(independent=vote(0.2, "cardiomegaly"))
    },
    "The X-ray, read by an independent classifier": {"found_by_classifier": vote(0.8, "normal")},
    "What picture 2 leaves out of the X-ray": {"evidence": made_evidence(unexplained=0.26)},
    "Change inside the heart and its border": {"evidence": made_evidence(heart_share=0.3)},
    "The caption": {"evidence": made_evidence(words=Words("contradicts", "agrees", False))},
    "The alternative's caption": {
        "evidence": made_evidence(words=Words("agrees", "contradicts", False))
    },
    "The alternative's caption against the first": {
        "evidence": made_evidence(words=Words("agrees", None, repeated=True))
    },
    "Width of the heart over width of the chest (CTR)": {
        "evidence": made_evidence(ctr=ctr_change(0.5, 0.5, 0.4, 1))
    },
}


@pytest.mark.parametrize("name", FAILS)
def test_each_failure_is_named_and_nothing_else(name):
    found = checks(**FAILS[name])
    assert [check.name for check in found.values() if check.status == "fail"] == [name]


def test_a_model_that_cannot_tell_does_not_pass_for_one_that_can():
    record = render(made(model={"name": "old"}), "x").sheet.record
    _, alike = checklist(record)[0].checks
    assert (alike.status, alike.result) == ("not measured", "This model cannot tell.")


def test_a_vote_says_what_was_expected_only_where_it_differs():
    name = "Picture 3, read by an independent classifier"
    assert checks()[name].result == "Cardiomegaly, 88 %."
    evidence = made_evidence(independent=vote(0.2, "cardiomegaly"))
    assert checks(evidence=evidence)[name].result == "Normal, 80 %. Expected: cardiomegaly."


def test_a_share_is_told_with_what_was_asked():
    name = "What picture 2 leaves out of the X-ray"
    assert checks()[name].result == "11 % of its variance; at most 25 % is asked."
    beyond = checks(evidence=made_evidence(unexplained=1.3))[name]
    assert beyond.result.startswith("> 99 % of its variance")
    assert checks(evidence=made_evidence(unexplained=0.25))[name].status == "pass"


def test_what_was_not_measured_is_said_so():
    found = checks(
        refinement=None,
        found_by_classifier=None,
        evidence=made_evidence(independent=None, heart_share=None, ctr=None),
    )
    assert [check.name for check in found.values() if check.status == "not measured"] == [
        "Picture 3, read by an independent classifier",
        "The X-ray, read by an independent classifier",
        "Picture 2 against the X-ray",
        "Change inside the heart and its border",
        "Width of the heart over width of the chest (CTR)",
    ]


def test_unclear_borders_and_labels_without_a_direction_neither_pass_nor_fail():
    name = "Width of the heart over width of the chest (CTR)"
    for ctr, status in (
        (ctr_change(None, None, 0.4, -1), "not measured"),
        (ctr_change(0.5, 0.5, 0.4, None), "measured"),
    ):
        found = checks(evidence=made_evidence(ctr=ctr, heart_share=0.3))
        assert found[name].status == status
        assert "0.40" in found[name].result
    assert found["Change inside the heart and its border"].status == "measured"


@pytest.mark.parametrize(("after", "status"), [(0.46, "pass"), (0.56, "fail")])
def test_a_heart_that_should_stay_is_checked_and_need_not_hold_the_change(after, status):
    evidence = made_evidence(ctr=ctr_change(0.45, 0.45, after, 0), heart_share=0.1)
    found = checks(evidence=evidence)
    ratio = found["Width of the heart over width of the chest (CTR)"]
    assert ratio.status == status
    assert ("does not stay" in ratio.result) == (status == "fail")
    assert found["Change inside the heart and its border"].status == "measured"


def test_words_that_nothing_can_be_read_from_are_not_measured():
    found = checks(evidence=made_evidence(words=Words("silent", None, repeated=False)))
    assert found["The caption"].result == "Its words state neither normal nor another."
    assert found["The caption"].status == "not measured"
    assert found["The alternative's caption"].status == "not measured"
