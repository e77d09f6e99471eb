"""The queue of uploads: one worker, batches, places in line, results that expire."""

import ctypes
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from xrj.datamodules.images import UInt8

R = TypeVar("R")
KEPT = 200
"""Results that are kept at most; the oldest goes first."""

log = logging.getLogger(__name__)


class FullError(Exception):
    """No more X-rays can wait."""


class State(StrEnum):
    """Where a job is."""

    waiting = "waiting"
    working = "working"
    done = "done"
    failed = "failed"


@dataclass(eq=False)
class Job(Generic[R]):
    """One X-ray on its way.

    Attributes:
        id: Unguessable; who knows it may see the result.
        name: What outputs call the X-ray.
        image: (H, W), 0 to 255; None once the job is finished.
        doubts: Sentences of how it was read.
        state: Where it is.
        result: None while it is not finished, and when it failed.
        expires: When it is forgotten, on the queue's clock; None while it is not finished.
    """

    id: str
    name: str
    image: UInt8 | None
    doubts: Sequence[str] = ()
    state: State = State.waiting
    result: R | None = None
    expires: float | None = None


class Jobs(Generic[R]):
    """A queue with one worker thread.

    Args:
        work: Makes a result of each X-ray of a batch, from the images and their names.
        batch: X-rays that are worked on at once.
        max_waiting: Uploads and waiting X-rays there may be.
        keep: Seconds for which a result is kept.
    """

    def __init__(
        self,
        work: Callable[[Sequence[UInt8], Sequence[str]], Sequence[R]],
        *,
        batch: int,
        max_waiting: int,
        keep: float,
    ) -> None:
        self._work, self._batch, self._max_waiting, self._keep = work, batch, max_waiting, keep
        self._jobs: dict[str, Job[R]] = {}
        self._reserved = 0
        self._closed = False
        self._changed = threading.Condition()
        self._worker = threading.Thread(target=self._run, name="jobs", daemon=True)
        self._worker.start()

    @contextmanager
    def reserve(self) -> Iterator[None]:
        """Hold a place in the queue for an upload that has begun.

        Raises:
            FullError: There is none.
        """
        with self._changed:
            if self._reserved + len(self._waiting()) >= self._max_waiting:
                raise FullError
            self._reserved += 1
        try:
            yield
        finally:
            with self._changed:
                self._reserved -= 1

    def add(self, image: UInt8, name: str, doubts: Sequence[str] = ()) -> Job[R]:
        """Put an X-ray into the queue; its place was reserved."""
        job: Job[R] = Job(secrets.token_urlsafe(16), name, image, doubts)
        with self._changed:
            self._jobs[job.id] = job
            self._changed.notify_all()
        return job

    def get(self, key: str) -> Job[R] | None:
        """Return a job that is known and has not expired."""
        with self._changed:
            self._forget()
            return self._jobs.get(key)

    def before(self, job: Job[R]) -> int:
        """Return how many X-rays are to be finished before the job is begun."""
        with self._changed:
            waiting = self._waiting()
            working = sum(other.state is State.working for other in self._jobs.values())
            return working + waiting.index(job) if job in waiting else 0

    def remove(self, key: str) -> None:
        """Forget a job, whatever its state."""
        with self._changed:
            self._jobs.pop(key, None)
        release_memory()

    def close(self) -> None:
        """Finish the batch that is worked on and forget everything."""
        with self._changed:
            self._closed = True
            self._jobs.clear()
            self._changed.notify_all()
        self._worker.join()

    def _waiting(self) -> list[Job[R]]:
        return [job for job in self._jobs.values() if job.state is State.waiting]

    def _forget(self) -> None:
        now = time.monotonic()
        finished = [job for job in self._jobs.values() if job.expires is not None]
        finished.sort(key=lambda job: job.expires or 0)
        for position, job in enumerate(finished):
            if (job.expires or 0) <= now or position < len(finished) - KEPT:
                del self._jobs[job.id]

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._closed and not self._waiting():
                    release_memory()
                    ends = [job.expires for job in self._jobs.values() if job.expires is not None]
                    self._changed.wait(max(0.0, min(ends) - time.monotonic()) if ends else None)
                    self._forget()
                if self._closed:
                    return
                batch = self._waiting()[: self._batch]
                for job in batch:
                    job.state = State.working
            self._finish(batch)
            del batch, job

    def _finish(self, batch: list[Job[R]]) -> None:
        results = self._try(batch)
        if results is None and len(batch) > 1:  # one bad X-ray fails alone
            results = [(self._try([job]) or [None])[0] for job in batch]
        with self._changed:
            for job, result in zip(batch, results or [None], strict=True):
                job.result = result
                job.state = State.failed if result is None else State.done
                job.expires = time.monotonic() + self._keep
                job.image = None  # last, since readers take no lock
            self._forget()

    def _try(self, batch: list[Job[R]]) -> list[R | None] | None:
        images = [job.image for job in batch if job.image is not None]
        try:
            results = self._work(images, [job.name for job in batch])
            return [result for _, result in zip(batch, results, strict=True)]
        except Exception:  # the worker outlives whatever an X-ray does to it
            log.exception("%d X-rays failed", len(batch))
            return None


def release_memory() -> None:
    """Hand freed memory back to the system, where the C library can (glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)
