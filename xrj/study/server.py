"""The readers' pages: one X-ray at a time behind a personal link, every answer stored at once."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from markupsafe import Markup
from starlette.exceptions import HTTPException

from xrj.errors import DataError
from xrj.study.folder import Study
from xrj.study.pages import pages
from xrj.study.questions import KEYS, QUESTIONS, REMARK, REMARK_LENGTH
from xrj.study.store import Answers, Reader, Saved
from xrj.web.server import SILENT, wants_json

FORM_BYTES = 64 * 1024
FORGED = (
    "this link is not valid: check that it is complete, or ask whoever runs the study for a new one"
)
PAGES = pages()
NOT_STORED = "the study cannot store answers at the moment; keep this page open and send it again"


@dataclass(frozen=True)
class Place:
    """Where a reader is.

    Attributes:
        token: Of the reader's link.
        reader: Whose it is.
        items: The reader's, in reading order.
        open: Items with a question that is not answered, by position from 1.
    """

    token: str
    reader: Reader
    items: list[str]
    open: list[int]

    @property
    def next(self) -> int | None:
        """The first position that is not finished."""
        return self.open[0] if self.open else None

    def url(self, position: int | None = None) -> str:
        """Return the address of a position; of the reader's first page without one."""
        return f"/r/{self.token}" + ("" if position is None else f"/{position}")


async def _form(request: Request) -> dict[str, str]:
    """Return a form's fields.

    Raises:
        HTTPException: It is too large or none.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_BYTES:
            raise HTTPException(413, "the remark is too long; shorten it")
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=20))
    except ValueError as error:
        raise HTTPException(422) from error


def _study(request: Request) -> Study:
    study: Study = request.app.state.study
    return study


OfStudy = Annotated[Study, Depends(_study)]


@contextmanager
def _available() -> Iterator[None]:
    """Turn a failure of the study's files into an answer for its readers; the operator gets it too.

    Raises:
        HTTPException: A file is missing or damaged, or the disk is full.
    """
    try:
        yield
    except DataError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        raise HTTPException(503, NOT_STORED) from error


def _place(token: str, study: OfStudy) -> Place:
    with _available():
        reader = study.store.reader_of(token)
        if reader is None:
            raise HTTPException(404, FORGED)
        items, answered = study.store.items(reader), study.store.answered(reader)
    unfinished = [
        position
        for position, item in enumerate(items, start=1)
        if not answered.get(item, set()).issuperset(KEYS)
    ]
    return Place(token, reader, items, unfinished)


Here = Annotated[Place, Depends(_place)]


def _position(position: int, place: Here) -> int:
    if not 1 <= position <= len(place.items):
        raise HTTPException(404, f"there are X-rays 1 to {len(place.items)}; go back")
    return position


Position = Annotated[int, Depends(_position)]
Form = Annotated[dict[str, str], Depends(_form)]
ROUTES = APIRouter()


def make_app(study: Study) -> FastAPI:
    """Return the readers' pages of a study, to be served behind `secure`."""
    app = FastAPI(openapi_url=None, telemetry=SILENT)
    app.state.study = study
    app.include_router(ROUTES)
    return app


@ROUTES.get("/")
def start() -> Response:
    """Refuse visitors without a link."""
    raise HTTPException(404, "this is a study; open it by the personal link that you were sent")


@ROUTES.get("/study.js")
def script() -> Response:
    """Send the one script of the pages."""
    text = (files("xrj.study") / "resources" / "study.js").read_text(encoding="utf-8")
    return Response(text, media_type="text/javascript")


@ROUTES.get("/r/{token}")
def welcome(place: Here) -> HTMLResponse:
    """Show a reader where the study stands."""
    return HTMLResponse(PAGES.get_template("welcome.html.j2").render(place=place))


@ROUTES.get("/r/{token}/{position}")
def ask(study: OfStudy, place: Here, position: Position) -> Response:
    """Show an X-ray with its questions; none beyond the first that is not finished."""
    if place.next is not None and position > place.next:
        return RedirectResponse(place.url(place.next), 303)
    with _available():
        answers = study.store.answers(place.reader, place.items[position - 1])
    return _page(study, place, position, answers)


@ROUTES.post("/r/{token}/{position}")
def answer(
    study: OfStudy, place: Here, position: Position, form: Form, request: Request
) -> Response:
    """Store a form's answers, or the one that the script sends."""
    if place.next is not None and position > place.next:
        raise HTTPException(409, f"X-ray {place.next} comes first; open your link again")
    given, seen = _read(form)
    with _available():
        saved = study.store.save(place.reader, place.items[position - 1], given, seen)
    notice = _notice(saved)
    if wants_json(request):
        return JSONResponse({"seen": saved.answers.last, "notice": notice})
    missing = tuple(key for key in KEYS if key not in saved.answers.values)
    if missing or notice:
        return _page(study, place, position, saved.answers, notice, missing)
    unfinished = [other for other in place.open if other != position]
    return RedirectResponse(place.url(unfinished[0] if unfinished else None), 303)


def _page(
    study: Study,
    place: Place,
    position: int,
    answers: Answers,
    notice: str = "",
    missing: tuple[str, ...] = (),
) -> HTMLResponse:
    with _available():
        evidence = study.evidence(place.items[position - 1])
    text = PAGES.get_template("reader.html.j2").render(
        place=place,
        position=position,
        evidence=Markup(evidence),  # noqa: S704  # the study's own, its hash checked
        questions=QUESTIONS,
        answers=answers,
        notice=notice,
        missing=missing,
        remark_length=REMARK_LENGTH,
    )
    return HTMLResponse(text, 422 if missing else 200)


def _read(form: Mapping[str, str]) -> tuple[dict[str, str], int]:
    """Return the answers of a form and the number of the last answer when it was shown.

    Raises:
        HTTPException: A value is not on its scale, or the form is not one of these pages.
    """
    seen = form.get("seen", "")
    if not (seen.isascii() and seen.isdigit() and len(seen) < 16):
        raise HTTPException(422)
    given = {}
    for question in QUESTIONS:
        if question.key in form:
            if form[question.key] not in map(str, question.values):
                raise HTTPException(422)
            given[question.key] = form[question.key]
    if REMARK in form:
        given[REMARK] = form[REMARK].replace("\r\n", "\n").replace("\0", "").strip()
        if len(given[REMARK]) > REMARK_LENGTH:
            raise HTTPException(413, f"the remark has over {REMARK_LENGTH} characters; shorten it")
    return given, int(seen)


def _notice(saved: Saved) -> str:
    """Say what other tabs or windows had to do with a form's answers."""
    if not (saved.replaced or saved.kept):
        return ""
    notice = "This X-ray was also answered elsewhere, perhaps in another tab. "
    if saved.replaced:
        notice += f"Your answer here to {_names(saved.replaced)} counts; the other one is kept. "
    if saved.kept:
        notice += f"The answer given there to {_names(saved.kept)} counts. "
    return notice + "Open this page again to see what counts."


def _names(keys: tuple[str, ...]) -> str:
    return ", ".join(
        "the remark" if key == REMARK else f"question {KEYS.index(key) + 1}" for key in keys
    )
