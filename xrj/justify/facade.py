"""A model as a library's user holds it: X-rays in, diagnoses and justifications out."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, overload

from xrj.errors import ConfigError
from xrj.justify.justification import (
    Justification,
    JustifySettings,
    check_towards,
    justify_all,
)
from xrj.justify.page import Calibration
from xrj.justify.protocol import Justifiable
from xrj.justify.reading import Diagnosis, diagnose_all
from xrj.justify.xray import Source, XRay, is_source, read

BATCH = JustifySettings.batch
"""X-rays that are diagnosed at once."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, repr=False)
class Model:
    """What diagnoses X-rays and justifies the diagnoses: a trained chain, or a model of one's own.

    Attributes:
        inner: What does it.
        calibration: Of its certainties, where it was measured.
    """

    inner: Justifiable
    calibration: Calibration | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the diagnoses, in the order of all certainties."""
        return self.inner.labels

    @property
    def card(self) -> Mapping[str, Any]:
        """What is known of it; see `JustificationModel.card`. Of other models their identity."""
        card: Mapping[str, Any] = getattr(self.inner, "card", self.inner.identity)
        return card

    def __repr__(self) -> str:
        return f"<Model {self.inner.identity['name']}: {', '.join(self.labels)}>"

    @overload
    def diagnose(self, xray: Source) -> Diagnosis: ...  # type: ignore[overload-overlap]
    @overload
    def diagnose(self, xray: Iterable[Source]) -> Iterator[Diagnosis]: ...
    def diagnose(self, xray: Source | Iterable[Source]) -> Diagnosis | Iterator[Diagnosis]:
        """Diagnose an X-ray and describe it; nothing is justified, so it is quick.

        Args:
            xray: Anything that `xrj.read` reads, or several.

        Returns:
            Diagnosis, certainties and caption; for several an iterator of them, in their order,
            which reads few at a time.

        Raises:
            DataError: An X-ray cannot be read; of several, when it is its turn.
        """
        if is_source(xray):
            return next(self._diagnoses([xray]))
        return self._diagnoses(_several(xray))

    def _diagnoses(self, sources: Iterable[Source]) -> Iterator[Diagnosis]:
        for xrays in _batches(sources, BATCH):
            for xray in xrays:
                for doubt in xray.doubts:
                    log.warning("%s: %s", xray.name, doubt)
            yield from diagnose_all(self.inner, [xray.picture for xray in xrays])

    @overload
    def justify(  # type: ignore[overload-overlap]  # one str is no iterable of them here
        self, xray: Source, settings: JustifySettings | None = None, seed: int = 0
    ) -> Justification: ...
    @overload
    def justify(
        self, xray: Iterable[Source], settings: JustifySettings | None = None, seed: int = 0
    ) -> Iterator[Justification]: ...
    def justify(
        self,
        xray: Source | Iterable[Source],
        settings: JustifySettings | None = None,
        seed: int = 0,
    ) -> Justification | Iterator[Justification]:
        """Diagnose an X-ray and justify the diagnosis.

        Args:
            xray: Anything that `xrj.read` reads, or several.
            settings: How; by default as `infer.py` does it.
            seed: Of the search's restarts.

        Returns:
            Its justification; for several an iterator of them, in their order. It reads
            `settings.batch` X-rays at a time and holds no others, so any number will do. What comes
            out for one does not depend on the others.

        Raises:
            ConfigError: The model has no such label as `settings.towards`.
            DataError: An X-ray cannot be read; of several, when it is its turn.
        """
        settings = settings or JustifySettings()
        check_towards(self.inner, settings.towards)
        if is_source(xray):
            return next(self._justifications([xray], settings, seed))
        return self._justifications(_several(xray), settings, seed)

    def _justifications(
        self, sources: Iterable[Source], settings: JustifySettings, seed: int
    ) -> Iterator[Justification]:
        for xrays in _batches(sources, settings.batch):
            pictures, names = [xray.picture for xray in xrays], [xray.name for xray in xrays]
            made = justify_all(self.inner, pictures, names, settings, seed)
            for xray, one in zip(xrays, made, strict=True):
                yield replace(one, doubts=xray.doubts, calibration=self.calibration)


def justify(
    model: Justifiable, xray: Source, settings: JustifySettings | None = None, seed: int = 0
) -> Justification:
    """Justify an X-ray with a model of one's own; see `Model.justify`.

    Raises:
        ConfigError: The model lacks members of `Justifiable`.
    """
    members = (name for name in vars(Justifiable) if not name.startswith("_"))
    if missing := [name for name in members if not hasattr(model, name)]:
        raise ConfigError(
            f"{type(model).__name__}: is no Justifiable, it lacks {', '.join(missing)}; "
            "see docs/justify.md"
        )
    return Model(model).justify(xray, settings, seed)


def _several(given: Any) -> Iterable[Source]:
    """Return what is several X-rays; what is none at all is refused as one that cannot be read."""
    return given if isinstance(given, Iterable) else [read(given)]


def _batches(sources: Iterable[Source], size: int) -> Iterator[list[XRay]]:
    """Yield X-rays, read as they are due; all before one that cannot be read come out first."""
    xrays: list[XRay] = []
    try:
        for source in sources:
            xrays.append(read(source))
            if len(xrays) == size:
                yield xrays
                xrays = []
    except Exception:
        if xrays:
            yield xrays
        raise
    if xrays:
        yield xrays
