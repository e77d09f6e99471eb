"""The page for uploads: an X-ray goes in, its justification comes back and is forgotten."""

import asyncio
import io
import logging
import zipfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import python_multipart  # noqa: F401  # without it the first upload would fail, not the start
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from xrj.datamodules.apart import DecoderError, decode_apart
from xrj.datamodules.decoding import anonymous_name, image_format
from xrj.datamodules.images import UInt8, resize
from xrj.errors import DataError
from xrj.justify.facade import Model
from xrj.justify.justification import JustifySettings
from xrj.justify.output import Rendered, render
from xrj.justify.page import environment
from xrj.justify.pictures import data_uri, png
from xrj.justify.xray import XRay
from xrj.web.jobs import FullError, Job, Jobs
from xrj.web.server import SILENT, wants_json

FIELD = "xray"
THUMBNAIL = 256
FORM_BYTES = 64 * 1024
"""What a form may hold beside the file."""
UPLOAD_SECONDS = 300
DECODERS = 2
"""Uploads that are held in memory and decoded at once; others wait on disk."""
RETRY_SECONDS = 10
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServeSettings:
    """Limits of the page.

    Attributes:
        max_upload_mb: Megabytes that a file may have.
        max_pixels: Pixels that an X-ray may have.
        max_waiting: Uploads and waiting X-rays there may be; more are asked to come back.
        batch: X-rays that the nets work on at once.
        keep_minutes: For which a result is kept.
    """

    max_upload_mb: int
    max_pixels: int
    max_waiting: int
    batch: int
    keep_minutes: float


def justifier(
    model: Model, settings: JustifySettings, seed: int
) -> Callable[[Sequence[UInt8], Sequence[str]], list[Rendered]]:
    """Return the work of the page: X-rays and their names in, justifications out."""

    def work(images: Sequence[UInt8], names: Sequence[str]) -> list[Rendered]:
        return [
            render(justification, justification.image)
            for justification in model.justify(map(XRay, names, images), settings, seed)
        ]

    return work


def make_app(
    work: Callable[[Sequence[UInt8], Sequence[str]], Sequence[Rendered]],
    settings: ServeSettings,
    labels: Sequence[str],
) -> FastAPI:
    """Return the page, to be served behind `secure`.

    Args:
        work: Justifies a batch of X-rays (H, W), 0 to 255, that have these names.
        settings: Limits.
        labels: Diagnoses that the model knows, for people to read.
    """
    pages = environment("xrj.web")
    jobs = Jobs(
        work,
        batch=settings.batch,
        max_waiting=settings.max_waiting,
        keep=60 * settings.keep_minutes,
    )
    decoders = asyncio.Semaphore(DECODERS)
    limit = settings.max_upload_mb * 1_000_000

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(jobs.close)

    app = FastAPI(openapi_url=None, telemetry=SILENT, lifespan=lifespan)

    def show(template: str, **context: Any) -> HTMLResponse:
        return HTMLResponse(
            pages.get_template(template).render(settings=settings, limit=limit, **context)
        )

    def find(key: str) -> Job[Rendered]:
        job = jobs.get(key)
        if job is None:
            raise HTTPException(404)
        return job

    @app.get("/")
    async def start() -> Response:
        return show("upload.html.j2", labels=labels)

    @app.get("/page.js")
    async def script() -> Response:
        text = (files("xrj.web") / "resources" / "page.js").read_text(encoding="utf-8")
        return Response(text, media_type="text/javascript")

    @app.get("/favicon.ico")
    async def icon() -> Response:
        return Response(status_code=204)

    @app.post("/xrays")
    async def upload(request: Request) -> Response:
        try:
            with jobs.reserve():
                job = jobs.add(*await _receive(request, limit, settings.max_pixels, decoders))
        except FullError as error:
            raise HTTPException(
                503,
                "too many X-rays are waiting; try again in a few seconds",
                {"Retry-After": str(RETRY_SECONDS)},
            ) from error
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        if wants_json(request):
            return JSONResponse({"url": f"/xrays/{job.id}"}, 202)
        return RedirectResponse(f"/xrays/{job.id}", 303)

    @app.get("/xrays")
    async def back() -> Response:
        return RedirectResponse("/", 303)

    @app.get("/xrays/{key}")
    async def look(key: str, request: Request) -> Response:
        job = find(key)
        if wants_json(request):
            answer = {"state": job.state, "before": jobs.before(job)}
            if job.result:
                answer["justification"] = job.result.sheet.record
                answer["doubts"] = job.doubts
            return JSONResponse(answer)
        image = job.image
        if image is not None:
            picture = data_uri(png(resize(image, THUMBNAIL), "the X-ray that was uploaded"))
            return show("waiting.html.j2", job=job, before=jobs.before(job), picture=picture)
        if job.result is None:
            raise HTTPException(500, "the program failed on this X-ray; its terminal says why")
        return show("result.html.j2", job=job, **job.result.context)

    @app.get("/xrays/{key}/{name}.zip")
    async def download(key: str, name: str) -> Response:
        job = find(key)
        if job.result is None or name != job.name:
            raise HTTPException(404)
        headers = {"content-disposition": f'attachment; filename="{job.name}.zip"'}
        return Response(_zip(job.name, job.result.files), 200, headers, "application/zip")

    @app.post("/xrays/{key}/remove")
    async def remove(key: str, request: Request) -> Response:
        find(key)
        jobs.remove(key)
        return Response(status_code=204) if wants_json(request) else RedirectResponse("/", 303)

    return app


async def _receive(
    request: Request, limit: int, max_pixels: int, decoders: asyncio.Semaphore
) -> tuple[UInt8, str, Sequence[str]]:
    """Return the X-ray of an upload, the name that outputs give it and what is doubtful of it.

    Raises:
        HTTPException: It is none, too large, too slow or not one that can be read.
        ClientDisconnect: The upload was cut off.
    """
    too_large = HTTPException(413, f"the file has more than {limit:,} bytes; make it smaller")
    if int(request.headers.get("content-length", 0)) > limit + FORM_BYTES:
        raise too_large
    bounded = Request(request.scope, _bounded(request.receive, limit + FORM_BYTES, too_large))
    try:
        async with asyncio.timeout(UPLOAD_SECONDS), bounded.form(max_files=1, max_fields=1) as form:
            file = form.get(FIELD)
            if not isinstance(file, UploadFile) or not file.size:
                raise HTTPException(422, "no file was sent, or an empty one; choose an X-ray")
            if file.size > limit:
                raise too_large
            async with decoders:
                data = await file.read()
                if image_format(data) is None:
                    raise HTTPException(
                        415, "this file is neither PNG, JPEG nor DICOM; choose another"
                    )
                doubts: list[str] = []
                image = await asyncio.to_thread(
                    decode_apart, data, "this file", max_pixels, warn=doubts.append
                )
                return image, anonymous_name(data), doubts
    except TimeoutError as error:
        raise HTTPException(408, "the upload took too long; try again") from error
    except DecoderError as error:
        log.error("%s", error)
        raise HTTPException(503, "the server cannot decode files; its terminal says why") from error
    except DataError as error:
        raise HTTPException(422, str(error)) from error


def _bounded(receive: Receive, limit: int, error: HTTPException) -> Receive:
    """Return `receive` that raises `error` once it has received more than `limit` bytes."""
    received = 0

    async def bounded() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise error
        return message

    return bounded


def _zip(folder: str, contents: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:  # stored: pictures are compressed already
        for name, data in contents.items():
            archive.writestr(f"{folder}/{name}", data)
    return buffer.getvalue()
