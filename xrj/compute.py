"""How torch computes on the device at hand: precision, layout, kernels, memory."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, cast

import torch
from pytorch_lightning.plugins.precision import MixedPrecision, Precision
from torch import nn

AUTO = "auto"


@dataclass(frozen=True)
class Device:
    """What decides how torch computes.

    Attributes:
        kind: "cpu", "cuda", or another of torch's.
        bfloat16: Whether it has arithmetic for bfloat16: a GPU from Ampere on, a CPU with
            AVX-512-BF16 or AMX.
    """

    kind: str
    bfloat16: bool

    def __str__(self) -> str:
        """Return it for people."""
        return f"on {self.kind} with{'' if self.bfloat16 else 'out'} bfloat16"

    @classmethod
    def of(cls, accelerator: str) -> "Device":
        """Return that of a Lightning accelerator, "auto" or another's name."""
        cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
        if accelerator in ("auto", "gpu", "cuda") and cuda:
            return cls("cuda", torch.cuda.is_bf16_supported(including_emulation=False))
        if accelerator in ("auto", "gpu", "mps") and mps:
            return cls("mps", False)
        return cls("cpu", any(_cpu_has(name) for name in ("avx512_bf16", "amx_bf16")))


def _cpu_has(capability: str) -> bool:
    return bool(torch.cpu.get_capabilities().get(capability, False))


def choose_precision(asked: str, device: Device) -> str:
    """Return the precision to train in: what is asked for, or the fastest that learns as well."""
    if asked != AUTO:
        return asked
    return "bf16-mixed" if device.bfloat16 else "32-true"


class _TrainingAlone(MixedPrecision):
    """Mixed precision in training alone: what is validated is what is exported, in 32 bits."""

    @contextmanager
    def val_step_context(self) -> Iterator[None]:
        """Change nothing."""
        yield


def precision_of_training(precision: str, device: Device) -> Precision:
    """Return Lightning's plugin for a precision that `choose_precision` has chosen."""
    if precision == "32-true":
        return Precision()
    mixed = cast(Literal["16-mixed", "bf16-mixed"], precision)
    return _TrainingAlone(mixed, "cpu" if device.kind == "cpu" else "cuda")


def prepare(device: Device, *, deterministic: bool) -> None:
    """Let torch choose quick kernels, and keep the memory of tensors that are freed."""
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    if device.kind == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = not deterministic
    else:
        keep_memory()


def keep_memory() -> None:
    """Have the C library keep freed memory, where it is glibc.

    It else gives each large tensor back to the system and gets the next one page by page, which
    takes as long as computing what is simple, such as a ReLU.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in ((-4, 0), (-1, -1), (-2, 64 << 20)):  # M_MMAP_MAX, M_TRIM_THRESHOLD,
            mallopt(option, value)  # M_TOP_PAD


def lay_out(net: nn.Module) -> None:
    """Store the weights of convolutions with their channels last, as they are quickest."""
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
