"""How torch computes: a function of what the device is."""

import ctypes

import pytest
import torch
from torch import nn

from xrj.compute import Device, choose_precision, lay_out, prepare


@pytest.mark.parametrize("kind", ["cpu", "cuda", "mps"])
def test_auto_is_bfloat16_where_there_is_arithmetic_for_it(kind):
    assert choose_precision("auto", Device(kind, bfloat16=True)) == "bf16-mixed"
    assert choose_precision("auto", Device(kind, bfloat16=False)) == "32-true"


@pytest.mark.parametrize("asked", ["32-true", "bf16-mixed", "16-mixed"])
@pytest.mark.parametrize("has", [True, False])
def test_what_is_asked_for_is_taken(asked, has):
    assert choose_precision(asked, Device("cpu", has)) == asked


@pytest.mark.parametrize(
    ("capabilities", "has"),
    [
        ({"avx512_bf16": True, "amx_bf16": False}, True),
        ({"avx512_bf16": False, "amx_bf16": True}, True),
        ({"avx512_bf16": False, "amx_bf16": False}, False),
        ({}, False),  # another architecture
    ],
)
def test_a_cpu_is_asked_for_avx512_bf16_and_amx(monkeypatch, capabilities, has):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert Device.of("cpu") == Device("cpu", has)


@pytest.mark.parametrize("accelerator", ["auto", "gpu", "cuda"])
@pytest.mark.parametrize("has", [True, False])
def test_a_gpu_is_asked_without_emulation(monkeypatch, accelerator, has):
    asked = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **given: asked.append(given) or has)
    assert Device.of(accelerator) == Device("cuda", has)
    assert asked == [{"including_emulation": False}]


def test_a_cpu_that_is_asked_for_beside_a_gpu_is_taken(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert Device.of("cpu").kind == "cpu"


@pytest.mark.parametrize("deterministic", [True, False])
def test_gpus_compute_in_tf32_and_try_kernels(monkeypatch, deterministic):
    for name, other in (("allow_tf32", False), ("benchmark", deterministic)):
        monkeypatch.setattr(torch.backends.cudnn, name, other)
    said = []
    monkeypatch.setattr(torch, "set_float32_matmul_precision", said.append)
    monkeypatch.setattr(torch, "use_deterministic_algorithms", lambda *a, **k: said.append(a[0]))
    prepare(Device("cuda", True), deterministic=deterministic)
    assert said == [deterministic, "high"]
    assert torch.backends.cudnn.benchmark is not deterministic
    assert torch.backends.cudnn.allow_tf32 is True


@pytest.mark.parametrize("deterministic", [True, False])
def test_on_a_cpu_freed_memory_is_kept(monkeypatch, deterministic):
    said = {}

    class Library:
        mallopt = staticmethod(said.__setitem__)

    monkeypatch.setattr(ctypes, "CDLL", lambda _: Library)
    monkeypatch.setattr(torch, "use_deterministic_algorithms", lambda *_, **__: None)
    prepare(Device("cpu", True), deterministic=deterministic)
    assert said[-4] == 0  # M_MMAP_MAX
    assert said[-1] == -1  # M_TRIM_THRESHOLD


def test_a_c_library_without_mallopt_is_left_alone(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    prepare(Device("cpu", False), deterministic=False)


def test_weights_of_convolutions_lie_with_their_channels_last():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(2, 2))
    lay_out(net)
    assert net[0].weight.is_contiguous(memory_format=torch.channels_last)
