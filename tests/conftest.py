"""What every test runs in: no network, its own environment, one thread."""

import ipaddress
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hydra.core.global_hydra import GlobalHydra

import xrj  # noqa: F401  # before torchvision, whose operators it may have to declare

ROOT = Path(__file__).parents[1]
LOCAL_NAMES = {None, "", "localhost", b"localhost", socket.gethostname()}

torch.set_num_threads(1)


def is_local(host: object) -> bool:
    if host in LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(str(host).split("%")[0]).is_loopback
    except ValueError:
        return False


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Refuse connections that leave this machine, and fail the test even if the code hides it.

    Connections of child processes are not seen.
    """
    refused: list[object] = []

    def refuse(address: object) -> None:
        refused.append(address)
        raise ConnectionRefusedError(f"tests may not connect to {address}")

    def guarded(real):
        def connect(self, address):
            if self.family != socket.AF_UNIX and not is_local(address[0]):
                refuse(address)
            return real(self, address)

        return connect

    real_lookup = socket.getaddrinfo

    def lookup(host, *args, **kwargs):
        if not is_local(host):
            refuse(host)
        return real_lookup(host, *args, **kwargs)

    monkeypatch.setattr(socket.socket, "connect", guarded(socket.socket.connect))
    monkeypatch.setattr(socket.socket, "connect_ex", guarded(socket.socket.connect_ex))
    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    yield
    assert not refused, f"connections were tried: {refused}"


@pytest.fixture(autouse=True)
def own_environment(tmp_path: Path) -> Iterator[None]:
    """Give each test W&B offline in its own folder, no leftover Hydra, and the environment back."""
    before = dict(os.environ)
    for name in [name for name in before if name.startswith(("HYDRA_", "WANDB_"))]:
        del os.environ[name]
    os.environ.update(WANDB_MODE="offline", WANDB_DIR=str(tmp_path), WANDB_SILENT="true")
    yield
    GlobalHydra.instance().clear()
    for name in os.environ.keys() - before.keys() - {"PYTEST_CURRENT_TEST"}:
        del os.environ[name]
    os.environ.update({name: before[name] for name in before if name != "PYTEST_CURRENT_TEST"})


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Find the folder of real reports and X-rays; it is never part of the repository."""
    folder = Path(os.environ.get("XRJ_SHARED", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; name its folder in XRJ_SHARED")
    return folder


@pytest.fixture(scope="session")
def chain_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the runs folder of an untrained chain `tiny`; its phantom lies in `cache` beside it."""
    from tests.chains import write_chain

    folder = tmp_path_factory.mktemp("chain")
    write_chain(folder / "runs", "tiny", folder / "cache")
    return folder / "runs"


@pytest.fixture(scope="session")
def chests():
    """X-rays of one patient with a CTR of 0.44 and of 0.60."""
    from xrj.datamodules.phantom_anatomy import Findings, draw_acquisition, draw_patient
    from xrj.datamodules.phantom_render import render_frontal

    acquisition = draw_acquisition(1, "CXR1", 0, "frontal")

    def render(ctr):
        return render_frontal(
            draw_patient(1, "CXR1", ctr=ctr, findings=Findings()), acquisition, 256
        )

    return render(0.44), render(0.60)


@pytest.fixture(scope="module")
def browser():
    """A real headless Chromium, the system's own."""
    from tests.browser import chromium

    with chromium() as browser:
        yield browser
