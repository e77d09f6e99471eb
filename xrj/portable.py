"""A chain's nets for programs without xrj: ONNX, and torch's own exported programs.

Four nets, each with any number of rows: X-ray to r and certainties, one step of the decoder, r to
the X-ray of stage I, and r with it to the one of stage II. `docs/export.md` puts them together.
"""

import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from xrj.datamodules.images import to_tensor
from xrj.errors import ConfigError
from xrj.files import atomic_path
from xrj.justify.model import JustificationModel
from xrj.nets.decoding import BOS
from xrj.nets.inverse import InverseMapping
from xrj.nets.representation import Representation
from xrj.nets.text import TextDecoder

FORMATS = {"onnx": ".onnx", "torch": ".pt2"}
"""Suffix of each format's files."""
LARGEST = 1e-4
"""Largest difference of an ONNX net's numbers to torch's."""
CHECKED = 100
"""Rows that are compared."""


class DiagnosisNet(nn.Module):
    """I and the decoder's first step: X-rays of stage I to r and the labels' certainties."""

    def __init__(
        self,
        inverse: InverseMapping,
        decoder: TextDecoder,
        representation: Representation,
        labels: Sequence[int],
    ) -> None:
        super().__init__()
        self.inverse, self.decoder, self.representation = inverse, decoder, representation
        self.register_buffer("labels", torch.tensor(labels))
        self.labels: Tensor

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (B, 1, h, h) in [-1, 1] to r (B, v + n) and certainties (B, L)."""
        r = self.inverse(image)
        logits = self.decoder.first_logits(self.representation.code(r))
        return r, logits[:, self.labels].softmax(dim=1)


class DecoderStep(nn.Module):
    """One step of the decoder."""

    def __init__(self, decoder: TextDecoder, representation: Representation) -> None:
        super().__init__()
        self.decoder, self.representation = decoder, representation

    def forward(
        self, r: Tensor, previous: Tensor, hidden: Tensor, cell: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Go on with a description by one token.

        Args:
            r: (B, v + n).
            previous: The token before, at first that of the beginning, (B, 1).
            hidden: State, at first zeros, (1, B, H).
            cell: The same.

        Returns:
            Logits of the next token (B, vocabulary), and both states.
        """
        code = self.representation.code(r)
        logits, (hidden, cell) = self.decoder.step(code, previous, (hidden, cell))
        return logits[:, 0], hidden, cell


@dataclass(frozen=True)
class _Part:
    """A net with an example of its inputs; `batch` says which axis of each is the rows'."""

    name: str
    net: nn.Module
    inputs: dict[str, Tensor]
    batch: dict[str, int]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Portable:
    """A net that was written.

    Attributes:
        path: Its file.
        difference: Largest difference of its numbers to torch's; None where it is torch's own.
        seconds: For a row, of `CHECKED` at once on one thread; of torch; None as above.
    """

    path: Path
    difference: float | None = None
    seconds: tuple[float, float] | None = None


def write_portable(
    model: JustificationModel, folder: Path, formats: Sequence[str]
) -> Iterator[Portable]:
    """Write a chain's nets, check each ONNX against torch, and yield them.

    Args:
        model: The chain, on the CPU.
        folder: Where to write.
        formats: Of `FORMATS`.

    Raises:
        ConfigError: An ONNX computes something else.
        ModuleNotFoundError: The extra `export` is not installed.
        DataError: The folder cannot be written.
    """
    for part in _parts(model, 2):
        axes = {name: {axis: torch.export.Dim("batch")} for name, axis in part.batch.items()}
        given = tuple(part.inputs.values())
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of torch about itself
            program = torch.export.export(
                part.net, given, dynamic_shapes=tuple(axes.values()), strict=False
            )
            for kind in formats:
                path = folder / f"{part.name}{FORMATS[kind]}"
                if kind == "torch":
                    with atomic_path(path) as temporary, temporary.open("wb") as file:
                        torch.export.save(program, file)
                    yield Portable(path)
                    continue
                onnx: Any = torch.onnx.export(
                    program, input_names=list(part.inputs), output_names=part.outputs,
                    dynamo=True, verbose=False, external_data=False,
                )  # fmt: skip
                with atomic_path(path) as temporary:
                    onnx.save(temporary)
    if "onnx" in formats:
        for part in _parts(model, CHECKED):
            yield _compared(folder / f"{part.name}.onnx", part)


def _parts(model: JustificationModel, rows: int) -> list[_Part]:
    """Return the nets with so many rows of noise to work on."""
    grey = np.random.default_rng(0).integers(
        0, 256, (rows, model.sizes[0], model.sizes[0]), dtype=np.uint8
    )
    image = to_tensor(grey)
    labels = model.vocabulary.label_ids
    decoder, representation = model.decoder, model.representation
    diagnosis = DiagnosisNet(model.inverse, decoder, representation, labels).eval()
    state = torch.zeros(1, rows, decoder.lstm.hidden_size)
    with torch.no_grad():
        r = model.encode(image)
        small = model.generate(r)
    beginning = torch.full((rows, 1), BOS)
    return [
        _Part("diagnosis", diagnosis, {"image": image}, {"image": 0}, ("r", "certainty")),
        _Part(
            "decoder",
            DecoderStep(decoder, representation).eval(),
            {"r": r, "previous": beginning, "hidden": state, "cell": state.clone()},
            {"r": 0, "previous": 0, "hidden": 1, "cell": 1},
            ("logits", "hidden_after", "cell_after"),
        ),
        _Part("stage1", model.stage1, {"r": r}, {"r": 0}, ("image",)),
        _Part("stage2", model.stage2, {"r": r, "small": small}, {"r": 0, "small": 0}, ("large",)),
    ]


def _compared(path: Path, part: _Part) -> Portable:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    given = {name: value.numpy() for name, value in part.inputs.items()}
    rows = next(value.shape[part.batch[name]] for name, value in part.inputs.items())
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            part.net(*part.inputs.values())
            began = time.perf_counter()
            wanted = part.net(*part.inputs.values())
            theirs = time.perf_counter() - began
    finally:
        torch.set_num_threads(threads)
    session.run(None, given)
    began = time.perf_counter()
    found = session.run(None, given)
    ours = time.perf_counter() - began
    both = zip(found, wanted if isinstance(wanted, tuple) else (wanted,), strict=True)
    difference = max(float(np.abs(one - other.numpy()).max()) for one, other in both)
    if not difference <= LARGEST:
        raise ConfigError(
            f"{path}: computes otherwise than torch, by {difference:.1e}; leave formats=onnx out, "
            "or install other versions of the extra 'export'"
        )
    return Portable(path, difference, (ours / rows, theirs / rows))
