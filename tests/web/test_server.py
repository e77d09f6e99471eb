"""The guard of every page: headers, host, origin, errors; and the server's beginning and end."""

import base64
import errno
import hashlib
import os
import re
import signal
import socket
import threading
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI
from starlette.exceptions import HTTPException

from tests.web.pages import running
from xrj.errors import ConfigError
from xrj.justify.page import environment
from xrj.web.server import SILENT, secure, serve


def small_app():
    app = FastAPI(openapi_url=None, telemetry=SILENT)

    @app.get("/")
    async def start():
        return {"fine": True}

    @app.post("/")
    async def change():
        return {"changed": True}

    @app.get("/number/{number}")
    async def count(number: int):
        return number

    @app.get("/teapot")
    async def refuse():
        raise HTTPException(403, "tea & <b>coffee</b>", {"x-own": "kept"})

    @app.get("/bug")
    async def bug():
        raise ValueError("secret reason")

    return app


@pytest.fixture(scope="module")
def client():
    app = secure(small_app(), hosts=["reader.example"])
    # After an exception the server closes its connection, which the next test must not take up.
    alone = httpx.Limits(max_keepalive_connections=0)
    with running(app) as url, httpx.Client(base_url=url, limits=alone) as client:
        yield client


@pytest.fixture
def own(client):
    """The server's own address, as a browser's `Origin` says it."""
    return str(client.base_url).rstrip("/")


@pytest.mark.parametrize("path", ["/", "/nothing", "/number/x", "/teapot", "/bug"])
def test_every_answer_carries_the_headers(client, path):
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "access-control-allow-origin" not in headers


def test_the_policy_allows_the_style_of_the_pages_and_no_other(client):
    page = client.get("/nothing")
    (style,) = re.findall("<style>(.*?)</style>", page.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in page.headers["content-security-policy"]
    assert " style=" not in page.text


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:8000", "127.0.0.1:1", "[::1]:8000", "192.168.1.5", "reader.example."],
)
def test_its_own_names_and_addresses_are_served(client, host):
    assert client.get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.x.example",
        "a@localhost",
        "]",
        "[x]",
    ],
)
def test_another_name_is_refused(client, host):
    response = client.get("/", headers={"host": host})
    assert response.status_code == 400
    assert "fine" not in response.text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "OWN"}, 200),
        ({"sec-fetch-site": "same-origin", "origin": "null"}, 200),
        ({"sec-fetch-site": "none"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:9"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "//["}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site", "origin": "OWN"}, 403),
    ],
)
def test_only_its_own_pages_change_something(client, own, headers, status):
    headers = {name: value.replace("OWN", own) for name, value in headers.items()}
    assert client.post("/", headers=headers).status_code == status
    assert client.get("/", headers=headers).status_code == 200


def test_errors_are_pages_for_people_and_json_for_scripts(client):
    page = client.get("/teapot")
    assert page.status_code == 403
    assert page.headers["x-own"] == "kept"
    assert "Tea &amp; &lt;b&gt;coffee&lt;/b&gt;." in page.text
    assert 'role="alert"' in page.text
    answer = client.get("/teapot", headers={"accept": "application/json"})
    assert answer.json() == {"error": "tea & <b>coffee</b>"}


@pytest.mark.parametrize(
    ("path", "status"), [("/nothing", 404), ("/number/x", 422), ("/bug", 500), ("/docs", 404)]
)
def test_an_error_without_words_gets_some(client, path, status):
    answer = client.get(path, headers={"accept": "application/json"})
    assert answer.status_code == status
    assert len(answer.json()["error"]) > 20
    assert "secret" not in answer.text


@pytest.mark.parametrize("path", ["/", "/nothing", "/number/3", "/number/x", "/teapot"])
def test_head_is_get_without_its_body(client, path):
    whole, head = client.get(path), client.head(path)
    assert (head.status_code, head.content) == (whole.status_code, b"")
    differs = {"date"}
    assert {k: v for k, v in head.headers.items() if k not in differs} == {
        k: v for k, v in whole.headers.items() if k not in differs
    }


def test_another_method_is_refused(client):
    assert client.delete("/").status_code == 405


def test_templates_of_a_package_come_before_the_others():
    pages = environment("xrj.web")
    assert {"base.html.j2", "upload.html.j2", "error.html.j2"} <= set(pages.list_templates())
    assert ".drop" in pages.globals["style"]
    assert ".bars" in pages.globals["style"]


def test_a_port_in_use_is_one_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port}: cannot be listened on") as caught:
            serve(secure(small_app()), host="127.0.0.1", port=port)
    assert "\n" not in str(caught.value)


def test_an_address_of_another_machine_is_one_line(monkeypatch):
    def refuse(*args, **options):
        raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")

    monkeypatch.setattr(socket, "create_server", refuse)
    with pytest.raises(ConfigError, match="Cannot assign"):
        serve(secure(small_app()), host="127.0.0.1", port=0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_order(number, capsys):
    ended = []

    @asynccontextmanager
    async def lifespan(app):
        client = threading.Thread(target=stop)
        client.start()
        yield
        ended.append("tidied")

    def stop():
        url = capsys.readouterr().out.split()[0]
        assert httpx.get(url).status_code == 404
        os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    serve(
        secure(FastAPI(openapi_url=None, telemetry=SILENT, lifespan=lifespan)),
        host="127.0.0.1",
        port=0,
    )
    assert ended == ["tidied"]
    assert signal.getsignal(number) is before
