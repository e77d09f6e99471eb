"""The readers' pages as a browser without script uses them."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from starlette.testclient import TestClient

from tests.study.conftest import SMALL
from xrj.study.folder import DATABASE_NAME, EVIDENCE_NAME, read_links
from xrj.study.questions import QUESTIONS
from xrj.study.server import FORM_BYTES, PAGES, make_app
from xrj.web.server import secure

FULL = {"q1": "3", "q2": "2", "q3": "1", "q4": "4", "remark": ""}
JSON = {"accept": "application/json"}


@pytest.fixture
def client(study):
    app = secure(make_app(study), pages=PAGES)
    return TestClient(app, base_url="http://127.0.0.1:8000", follow_redirects=False)


@pytest.fixture
def link(study):
    return "/r/" + read_links(study.folder)["ann"].rpartition("/r/")[2]


def seen(text):
    return re.search(r'name="seen" value="(\d+)"', text).group(1)


def checked(text):
    found = re.findall(r'name="(q\d)" value="(\d)" checked', text)
    return dict(found)


def test_a_reader_goes_from_x_ray_to_x_ray_to_the_end(client, link, study):
    welcome = client.get(link)
    assert welcome.status_code == 200
    assert "6 X-rays, four questions each" in welcome.text
    assert f'href="{link}/1"' in welcome.text
    items = study.store.items(study.store.readers()[0])
    for position in range(1, 7):
        page = client.get(f"{link}/{position}")
        assert f"X-ray {position} of 6" in page.text
        assert f"<p>evidence of {items[position - 1]}</p>" in page.text
        for question in QUESTIONS:
            assert question.text in page.text
            for value in question.values:
                assert f'name="{question.key}" value="{value}"' in page.text
        answer = client.post(f"{link}/{position}", data={**FULL, "seen": seen(page.text)})
        assert answer.status_code == 303
        assert answer.headers["location"] == (link if position == 6 else f"{link}/{position + 1}")
    assert "All 6 X-rays are answered" in client.get(link).text
    assert len(study.store.record()) == 6 * 4


def test_every_page_answers_head(client, link):
    for path in (link, f"{link}/1", f"{link}/3", "/study.js", "/", "/r/x"):
        assert client.head(path).status_code == client.get(path).status_code
        assert client.head(path).content == b""


def test_later_x_rays_wait_for_earlier_ones(client, link):
    ahead = client.get(f"{link}/3")
    assert (ahead.status_code, ahead.headers["location"]) == (303, f"{link}/1")
    assert client.post(f"{link}/3", data={**FULL, "seen": "0"}).status_code == 409


def test_a_missing_answer_is_named_and_the_others_are_stored(client, link, study):
    page = client.post(f"{link}/1", data={"q1": "3", "q4": "2", "remark": "hm", "seen": "0"})
    assert page.status_code == 422
    assert "not all questions are answered" in page.text
    assert page.text.count('class="missing"') == 2
    assert checked(page.text) == {"q1": "3", "q4": "2"}
    assert ">hm</textarea>" in page.text
    again = client.get(f"{link}/1")
    assert checked(again.text) == {"q1": "3", "q4": "2"}
    assert "Start with X-ray 1" in client.get(link).text


def test_going_back_and_changing_an_answer_is_a_revision(client, link, study):
    client.post(f"{link}/1", data={**FULL, "seen": "0"})
    page = client.get(f"{link}/1")
    assert checked(page.text) == {key: FULL[key] for key in ("q1", "q2", "q3", "q4")}
    again = client.post(f"{link}/1", data={**FULL, "q1": "1", "seen": seen(page.text)})
    assert (again.status_code, again.headers["location"]) == (303, f"{link}/2")
    assert [answer.value for answer in study.store.record() if answer.question == "q1"] == [
        *("3", "1")
    ]


def test_a_remark_is_text(client, link):
    client.post(f"{link}/1", data={"remark": " <b>bold</b>\r\nline ", "seen": "0"})
    assert "&lt;b&gt;bold&lt;/b&gt;\nline</textarea>" in client.get(f"{link}/1").text


def test_the_script_stores_one_answer_at_a_time(client, link):
    first = client.post(f"{link}/1", data={"q1": "3", "seen": "0"}, headers=JSON)
    assert first.status_code == 200
    number = first.json()["seen"]
    assert first.json() == {"seen": number, "notice": ""}
    second = client.post(f"{link}/1", data={"q2": "1", "seen": number}, headers=JSON)
    assert second.json()["notice"] == ""
    assert checked(client.get(f"{link}/1").text) == {"q1": "3", "q2": "1"}
    final = client.post(f"{link}/1", data={**FULL, "q2": "1", "seen": second.json()["seen"]})
    assert final.headers["location"] == f"{link}/2"


def test_a_stale_tab_is_told_and_loses_nothing(client, link, study):
    old = seen(client.get(f"{link}/1").text)
    client.post(f"{link}/1", data={**FULL, "q2": "4", "seen": old})
    stale = client.post(f"{link}/1", data={**FULL, "q2": "1", "remark": "mine", "seen": old})
    assert stale.status_code == 200
    assert "answered elsewhere" in stale.text
    assert "question 2" in stale.text
    assert checked(stale.text)["q2"] == "1"
    record = [answer.value for answer in study.store.record() if answer.question == "q2"]
    assert record == ["4", "1"]
    told = client.post(f"{link}/1", data={"q1": "2", "seen": old}, headers=JSON).json()
    assert "question 1" in told["notice"]


def test_a_forged_link_is_refused_without_a_hint(client, link):
    forged = [client.get(f"/r/{token}") for token in ("x", link[3:-1], "A" * 43)]
    forged += [client.get("/r/x/1"), client.get(f"{link[:-1]}/1"), client.post("/r/x/1", data=FULL)]
    assert {one.status_code for one in forged} == {404}
    assert len({one.text for one in forged}) == 1
    assert "link is not valid" in forged[0].text
    for place in ("0", "7", "-1"):
        assert client.get(f"{link}/{place}").status_code == 404
    assert client.get("/").status_code == 404
    assert "personal link" in client.get("/").text


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"q1": "5", "seen": "0"}, 422),
        ({"q3": "2", "seen": "0"}, 422),
        ({"q1": "0", "seen": "0"}, 422),
        ({"q1": "", "seen": "0"}, 422),
        ({"q1": "3"}, 422),
        ({"q1": "3", "seen": "-1"}, 422),
        ({"q1": "3", "seen": "9" * 30}, 422),
        ({"remark": "x" * 4001, "seen": "0"}, 413),
        ({"remark": "x" * FORM_BYTES, "seen": "0"}, 413),
    ],
    ids=str,
)
def test_a_form_that_no_page_sends_is_refused(client, link, study, form, status):
    assert client.post(f"{link}/1", data=form).status_code == status
    assert study.store.record() == []


def test_bytes_that_are_no_form_are_refused(client, link, study):
    for body in (b"\xff\xfe", b"&".join(b"a%d=1" % n for n in range(50))):
        assert client.post(f"{link}/1", content=body).status_code == 422
    assert study.store.record() == []


def test_another_sites_page_cannot_answer(client, link, study):
    foreign = {"origin": "http://evil.example", "sec-fetch-site": "cross-site"}
    assert client.post(f"{link}/1", data={**FULL, "seen": "0"}, headers=foreign).status_code == 403
    assert study.store.record() == []


def test_a_page_loads_nothing_from_elsewhere_and_gives_nothing_away(client, link, study):
    page = client.get(f"{link}/1")
    policy = page.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "default-src 'none'" in policy
    assert page.headers["cache-control"] == "no-store"
    assert re.findall(r'(?:src|href)="(?!/)([^"]*)"', page.text) == []
    assert client.get("/study.js").headers["content-type"].startswith("text/javascript")
    for sealed in study.truth().values():
        assert sealed.image not in page.text


def test_a_study_that_cannot_store_says_so(client, link, study, capsys):
    (study.folder / DATABASE_NAME).write_bytes(b"broken" * 1000)
    answer = client.post(f"{link}/1", data={**FULL, "seen": "0"}, headers=JSON)
    assert answer.status_code == 503
    assert "cannot store answers" in answer.json()["error"]
    assert "study.sqlite" not in answer.text
    assert "study.sqlite" in capsys.readouterr().err


def test_changed_evidence_is_not_shown(client, link, study):
    item = study.store.items(study.store.readers()[0])[0]
    (study.folder / EVIDENCE_NAME / f"{item}.html").write_text("<p>another diagnosis</p>")
    assert client.get(f"{link}/1").status_code == 503


def test_readers_at_once(client, study):
    links = ["/r/" + one.rpartition("/r/")[2] for one in read_links(study.folder).values()]

    def read(link):
        for position in range(1, 7):
            client.post(f"{link}/{position}", data={**FULL, "seen": "0"})

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(read, links))
    assert len(study.store.record()) == SMALL.ratings * 4
