"""The common ground of the pages: headers, checks of host and origin, errors, the server."""

import base64
import hashlib
import ipaddress
import re
import signal
import socket
import sys
from collections.abc import Collection
from http import HTTPStatus

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi.telemetry import TelemetryConfig
from jinja2 import Environment
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from xrj.errors import ConfigError
from xrj.justify.page import VIEWER, environment

LOOPBACK = ("localhost", "127.0.0.1", "::1")
HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not no-referrer, under which browsers send forms with `Origin: null`.
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""Headers of every response that does not set them itself, beside the content security policy."""
HOST = re.compile(r"(\[(?P<six>[0-9a-f:.]+)\]|(?P<name>[\w-]+(\.[\w-]+)*)\.?)(:\d+)?", re.ASCII)
"""What `Host` may be: an IPv6 address or a name, and a port."""
SILENT: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}
"""For FastAPI, which otherwise hands addresses, that are keys here, to whatever collects traces."""
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
TITLES = {
    400: "Not understood",
    403: "Not allowed",
    404: "Not found",
    405: "Not understood",
    408: "Too slow",
    413: "Too large",
    415: "Not a picture that can be read",
    422: "Not usable",
    500: "Something broke",
    503: "Too busy",
}
MESSAGES = {
    400: "the request is not one that this page sends; go back and try again",
    404: "there is nothing here: the address is wrong, or what it showed has been removed",
    405: "this address does not take such a request; go back and try again",
    422: "the form is not filled in as this page sends it; go back and try again",
    500: "the program failed; its terminal says why",
}
"""What to tell people where a route gives no message of its own."""


def wants_json(request: Request) -> bool:
    """Return whether a request asks for JSON rather than for a page."""
    return "application/json" in request.headers.get("accept", "")


def secure(
    app: FastAPI, *, pages: Environment | None = None, hosts: Collection[str] = ()
) -> ASGIApp:
    """Put an app behind its guard: headers, HEAD, checks of host and origin, error pages.

    The guard refuses names that do not belong to this server, so that no foreign site can reach
    it by DNS rebinding, and requests that change something but come from another site's page.
    Routes refuse by `raise HTTPException(status, "one line for people")`.

    Args:
        app: Made with `openapi_url=None`, since FastAPI's own pages load scripts from elsewhere,
            and with `telemetry=SILENT`.
        pages: Whose style may be used and whose `error.html.j2` is shown; `xrj.web`'s by default.
        hosts: Names that the server is reached by, beside the loopback's and IP addresses.

    Returns:
        What to serve.
    """
    pages = pages or environment("xrj.web")
    policy = _policy(str(pages.globals["style"]), VIEWER)
    headers = {**HEADERS, "content-security-policy": policy}

    def answer(request: Request, status: int, message: str) -> Response:
        if wants_json(request):
            return JSONResponse({"error": message}, status)
        title = TITLES.get(status, HTTPStatus(status).phrase)
        text = pages.get_template("error.html.j2").render(
            status=status, title=title, message=message
        )
        return HTMLResponse(text, status)

    async def on_http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101  # registered for it alone
        own = error.detail != HTTPStatus(error.status_code).phrase
        message = error.detail if own else MESSAGES.get(error.status_code, error.detail)
        response = answer(request, error.status_code, message)
        response.headers.update(error.headers or {})
        return response

    async def on_invalid_request(request: Request, _error: Exception) -> Response:
        return answer(request, 422, MESSAGES[422])

    async def on_bug(request: Request, _error: Exception) -> Response:
        return answer(request, 500, MESSAGES[500])

    app.add_exception_handler(HTTPException, on_http_error)
    app.add_exception_handler(RequestValidationError, on_invalid_request)
    app.add_exception_handler(Exception, on_bug)
    names = frozenset(name.lower() for name in (*LOOPBACK, *hosts))

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return

        head = scope["method"] == "HEAD"
        if head:  # every page answers it as it answers GET, without the body
            scope = {**scope, "method": "GET"}

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                sent = MutableHeaders(scope=message)
                for name, value in headers.items():
                    sent.setdefault(name, value)
            elif head:
                message = {**message, "body": b""}
            await send(message)

        refused = _refusal(scope["method"], Headers(scope=scope), names)
        if refused:
            response = answer(Request(scope), *refused)
            await response(scope, receive, send_with_headers)
        else:
            await app(scope, receive, send_with_headers)

    return guarded


def _policy(style: str, script: str) -> str:
    """Return a policy that allows this server's files, and one inline style and script."""
    allowed, run = (
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
        for text in (style, script)
    )
    return (
        f"default-src 'none'; script-src 'self' 'sha256-{run}'; style-src 'sha256-{allowed}'; "
        "img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    )


def _refusal(method: str, headers: Headers, names: Collection[str]) -> tuple[int, str] | None:
    host = headers.get("host", "")
    match = HOST.fullmatch(host.lower())
    name = match and (match["six"] or match["name"])
    if not name or not (name in names or _is_address(name)):
        return 400, "this server does not go by the name of the request; start it with that name"
    if method in SAFE_METHODS:
        return None
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    foreign = (
        site not in ("same-origin", "none")
        if site is not None
        else origin is not None and origin.partition("://")[2] != host
    )
    return (
        (403, "the request comes from another site; use this server's own page")
        if foreign
        else None
    )


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def make_server(app: ASGIApp) -> uvicorn.Server:
    """Return a server that logs no addresses, since a result's address is its key."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=10,
        )
    )


def serve(app: ASGIApp, *, host: str, port: int) -> None:
    """Serve until SIGINT or SIGTERM, after which requests in progress are finished.

    Args:
        app: As `secure` returns it.
        host: Name or address to listen on.
        port: 0 for any free one.

    Raises:
        ConfigError: The address cannot be listened on.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address[:2], family=family, backlog=128)
    except OSError as error:
        raise ConfigError(
            f"{host}, port {port}: cannot be listened on ({error.strerror}); "
            "choose another port or host"
        ) from error
    with listener:
        name = f"[{host}]" if ":" in host else host
        print(f"http://{name}:{listener.getsockname()[1]}/ (stop with Ctrl-C)", flush=True)
        if host not in LOOPBACK:
            print("no login, no encryption: whoever reaches it can use it", file=sys.stderr)
        # uvicorn raises the signal that stopped it again: it has done its work by then.
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, lambda *_: None) for number in numbers}
        try:
            make_server(app).run(sockets=[listener])
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
