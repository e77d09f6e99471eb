"""A reader in a real browser: by keyboard, without script, in two tabs, past a killed server."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.study.conftest import SMALL, make_study
from xrj.study.folder import read_links

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


@pytest.fixture
def visit(browser):
    """Open a page in a new context; what its policy refuses fails the test."""
    contexts, wrong = [], []

    def visit(url, **options):
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "console", lambda message: "Security Policy" in message.text and wrong.append(message)
        )
        page.goto(url)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert not wrong


class Server:
    """The command, as its operator runs it."""

    def __init__(self, folder):
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    def start(self):
        step = ["task=study", "study.step=serve", f"out={self.folder}", f"serve.port={self.port}"]
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "infer.py"), *step], stdout=subprocess.PIPE, text=True
        )
        for line in self.process.stdout:
            if "Ctrl-C" in line:
                return
        raise AssertionError("the server did not start")

    def kill(self):
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def server(tmp_path):
    study = make_study(tmp_path / "study", SMALL, count=20)
    server = Server(study.folder)
    server.start()
    server.store = study.store
    server.links = read_links(study.folder)
    yield server
    server.kill()


def stored(server):
    return [(one.question, one.value) for one in server.store.record()]


def heading(page):
    return page.locator(".progress .eyebrow").first.inner_text()


def checked(page):
    return page.eval_on_selector_all("input:checked", "all => all.map(one => one.name + one.value)")


def test_a_killed_server_loses_no_answer(server, visit):
    page = visit(server.links["ann"])
    page.wait_for_function("() => document.activeElement.matches('a.primary')")
    page.keyboard.press("Enter")
    page.wait_for_url("**/1")
    for position, keys in ((1, "3214"), (2, "1103")):
        assert heading(page) == f"X-ray {position} of 6"
        for key in keys:
            page.keyboard.press(key)
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/{position + 1}")
    page.keyboard.press("2")
    page.get_by_text("Stored", exact=True).wait_for()
    page.keyboard.press("4")
    page.wait_for_function("() => document.forms[0].elements.seen.value === '10'")
    server.kill()
    page.keyboard.press("1")
    page.get_by_text("Not stored yet: question 3 (the server cannot be reached)").wait_for()
    page.keyboard.press("2")
    page.get_by_text("Not stored yet: question 3, question 4").wait_for()
    page.keyboard.press("r")
    page.keyboard.type("hm")
    page.get_by_role("button").click()
    page.get_by_text("Not stored yet: question 3, question 4, remark").wait_for()
    assert len(stored(server)) == 10
    assert page.url.endswith("/3")

    server.start()
    page.wait_for_url("**/4")  # by itself, as the reader wanted
    assert stored(server)[10:] == [("q3", "1"), ("q4", "2"), ("remark", "hm")]
    page = visit(server.links["ann"])
    assert "3 answered, 3 to go" in page.inner_text("main")
    page.get_by_text("Continue with X-ray 4").click()
    assert checked(page) == []
    page.goto(f"{server.links['ann']}/1")
    assert checked(page) == ["q13", "q22", "q31", "q44"]
    page.keyboard.press("b")
    page.wait_for_url(server.links["ann"])


def test_an_answer_outlives_its_page(server, visit):
    page = visit(f"{server.links['ann']}/1")
    page.on("dialog", lambda dialog: dialog.accept())  # that something is not stored
    page.keyboard.press("3")
    page.get_by_text("Stored", exact=True).wait_for()
    server.kill()
    for key in "21":
        page.keyboard.press(key)
    page.get_by_text("Not stored yet: question 2, question 3").wait_for()
    page.goto("about:blank")
    server.start()
    page.goto(server.links["ann"])
    page.wait_for_function("() => !localStorage.length")
    assert stored(server) == [("q1", "3"), ("q2", "2"), ("q3", "1")]
    page.goto(f"{server.links['ann']}/1")
    assert checked(page) == ["q13", "q22", "q31"]


def test_what_the_server_refuses_is_not_called_stored(server, visit):
    page = visit(f"{server.links['ann']}/1")
    page.eval_on_selector("textarea", "box => box.removeAttribute('maxlength')")
    page.fill("textarea", "x" * 5000)
    page.locator("input[name=q1][value='3']").check()
    page.get_by_text("Not stored: remark (the remark has over").wait_for()
    page.fill("textarea", "short")
    page.get_by_role("button").click()
    page.get_by_text("not all questions are answered").wait_for()
    assert stored(server) == [("q1", "3"), ("remark", "short")]


def test_an_answer_is_changed_and_a_remark_written_by_keyboard(server, visit):
    page = visit(f"{server.links['ann']}/1")
    for key in "3214":
        page.keyboard.press(key)
    page.keyboard.press("r")
    page.keyboard.type("4 ribs, 2 lines b r")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/2")
    page.keyboard.press("b")
    page.wait_for_url("**/1")
    assert page.input_value("textarea") == "4 ribs, 2 lines b r"
    page.locator("fieldset").nth(0).locator("input").first.focus()
    page.keyboard.press("1")
    page.get_by_text("Stored", exact=True).wait_for()
    page.get_by_role("button").click()
    page.wait_for_url("**/2")
    record = stored(server)
    assert [value for question, value in record if question == "q1"] == ["3", "1"]
    assert len(record) == 6


def test_two_tabs_of_one_reader(server, visit):
    first = visit(f"{server.links['bea']}/1")
    second = visit(f"{server.links['bea']}/1")
    for key in "3214":
        first.keyboard.press(key)
    first.wait_for_function("() => document.forms[0].elements.seen.value === '4'")
    second.keyboard.press("1")
    second.get_by_text("answered elsewhere").wait_for()
    for key in "214":
        second.keyboard.press(key)
    second.keyboard.press("Enter")
    second.wait_for_url("**/2")
    record = stored(server)
    assert [value for question, value in record if question == "q1"] == ["3", "1"]
    assert len(record) == 5


def test_the_pages_work_without_script_and_on_a_phone(server, visit):
    page = visit(
        f"{server.links['ann']}/1",
        java_script_enabled=False,
        viewport={"width": 375, "height": 700},
    )
    assert not page.locator(".keys").is_visible()
    page.check("input[name=q1][value='3']")
    page.get_by_role("button").click()
    assert "not all questions are answered" in page.inner_text("main")
    for name, value in (("q2", 2), ("q3", 1), ("q4", 4)):
        page.check(f"input[name={name}][value='{value}']")
    page.get_by_role("button").click()
    assert heading(page) == "X-ray 2 of 6"
    assert page.locator("html").evaluate("html => html.scrollWidth") <= 375
    assert len(stored(server)) == 4


def test_a_second_server_is_refused(server):
    step = ["task=study", "study.step=serve", f"out={server.folder}", f"serve.port={server.port}"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "infer.py"), *step], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "another server serves this study" in done.stderr
    assert done.stderr.count("\n") == 1
