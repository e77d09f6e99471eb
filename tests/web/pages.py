"""What the tests of the page share: handmade justifications, X-rays, a server on a free port."""

import io
import socket
import threading
from contextlib import contextmanager

import numpy as np
from PIL import Image

from tests.justify.handmade import LABELS, LARGE, made
from xrj.datamodules.images import resize
from xrj.justify.output import render
from xrj.web.app import ServeSettings, make_app
from xrj.web.server import make_server, secure

SETTINGS = {
    "max_upload_mb": 1,
    "max_pixels": 100_000,
    "max_waiting": 32,
    "batch": 4,
    "keep_minutes": 30,
}


class Work:
    """Justifies without nets: the X-ray that was uploaded is the original of what comes out.

    Attributes:
        gate: Work waits until it is set.
        batches: Sizes of what was worked on.
        broken: Fails on batches with an X-ray that has one of these grey values at its corner.
    """

    def __init__(self):
        self.gate = threading.Event()
        self.gate.set()
        self.batches = []
        self.broken = set()

    def __call__(self, images, names):
        self.gate.wait(60)
        self.batches.append(len(images))
        if self.broken & {int(image[0, 0]) for image in images}:
            raise RuntimeError("as the test wants it")
        return [
            render(made(name, original=resize(image, LARGE)), name)
            for image, name in zip(images, names, strict=True)
        ]


def page_app(work, **changes):
    """Return the page behind its guard."""
    return secure(make_app(work, ServeSettings(**SETTINGS | changes), LABELS))


@contextmanager
def running(app):
    """Serve an app from a thread on a free port; yield its address."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        server = make_server(app)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


def xray(seed=0, corner=None, shape=(90, 80)):
    """Return an X-ray's pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    if corner is not None:
        pixels[0, 0] = corner
    return pixels


def as_png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()
