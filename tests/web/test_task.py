"""`infer.py` with DICOM in, and the page that it serves, on a chain with nets."""

import io
import os
import signal
import sys
import threading
import time
import zipfile

import httpx
import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from PIL import Image

from tests.chains import CONF, LARGE
from tests.datamodules.radiographs import as_bytes, hides_the_patient, planted, radiograph
from tests.web.pages import as_png, xray
from xrj.command import user_errors
from xrj.config import register
from xrj.datamodules.images import prepare
from xrj.errors import ConfigError, DataError
from xrj.infer_config import InferConfig
from xrj.tasks import run_task

JSON = {"accept": "application/json"}


@pytest.fixture
def infer(chain_runs, tmp_path, monkeypatch):
    """Do a task of `infer.py` with these overrides."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["infer.py"])

    def run(*overrides):
        register()
        quick = ["name=tiny", f"runs={chain_runs}", "mapping.tries=1", "mapping.steps=2"]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = compose("infer", [*quick, "device=cpu", *overrides])
        run_task(cfg)

    return run


def of_the_patient(seed=0, view="PA"):
    return as_bytes(planted(radiograph(xray(seed), BodyPartExamined="CHEST", ViewPosition=view)))


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
def test_no_file_that_is_written_names_the_patient(infer, tmp_path, capfd, caplog):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "DOE^JANE_1.dcm").write_bytes(of_the_patient())
    (folder / "DOE^JANE_2.dcm").write_bytes(of_the_patient(seed=1))
    (folder / "DOE^JANE_3.dcm").write_bytes(of_the_patient(view="LL"))
    (folder / "DOE^JANE_4.dcm").write_bytes(b"broken")
    caplog.clear()
    capfd.readouterr()
    infer("image=in", "out=out")
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    pages = [path for path in written if path.name == "justification.html"]
    assert len(pages) == 2
    assert "a lateral view" in (tmp_path / "out" / "index.html").read_text()
    for path in written:
        assert hides_the_patient(str(path.relative_to(tmp_path)))
        assert hides_the_patient(path.read_bytes().decode("latin-1")), path
        if path.suffix in (".png", ".webp"):
            assert hides_the_patient(str(Image.open(path).info))
    captured = capfd.readouterr()
    assert hides_the_patient(captured.out + captured.err + caplog.text)


def test_a_single_dicom_file_is_refused_by_its_own_name(infer, tmp_path):
    (tmp_path / "scan.dcm").write_bytes(as_bytes(radiograph(xray(), ViewPosition="LATERAL")))
    with pytest.raises(DataError, match=r"^scan\.dcm: a lateral view"):
        infer("image=scan.dcm", "out=out")
    assert not (tmp_path / "out").exists()


def test_serve_justifies_what_is_uploaded_until_it_is_stopped(infer, capsys):
    pixels, found = xray(3), {}

    def visit():
        try:
            for _ in range(600):
                if words := capsys.readouterr().out.split():
                    break
                time.sleep(0.1)
            with httpx.Client(base_url=words[0], headers=JSON, timeout=60) as client:
                files = {"xray": ("a.png", as_png(pixels))}
                url = client.post("/xrays", files=files).json()["url"]
                while (answer := client.get(url).json())["state"] in ("waiting", "working"):
                    time.sleep(0.05)
                found.update(answer["justification"])
                archive = client.get(f"{url}/{found['image']}.zip").content
            with zipfile.ZipFile(io.BytesIO(archive)) as files:
                found["original"] = files.read(f"{found['image']}/original.png")
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, lambda *_: None)
    visitor = threading.Thread(target=visit)
    visitor.start()
    try:
        infer("task=serve", "serve.port=0")
    finally:
        visitor.join(60)
        signal.signal(signal.SIGTERM, before)
    assert found["model"]["name"] == "tiny"
    assert found["image"].startswith("xray-")
    original = np.asarray(Image.open(io.BytesIO(found["original"])))
    assert np.array_equal(original, prepare(pixels, LARGE, 0.09))


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("serve.port=70000", "serve.port=70000: must lie between"),
        ("out=kept", "out=kept: task=serve keeps what is uploaded in memory alone"),
        ("serve.max_waiting=0", "serve.max_waiting=0: must be at least 1"),
        ("+serve.typo=1", "serve.typo: no such setting"),
        ("serve.host=256.1.1.1", "cannot be listened on"),
    ],
)
def test_a_wrong_setting_is_one_line(infer, monkeypatch, override, reason):
    monkeypatch.setattr("socket.getaddrinfo", fail_to_look_up)
    with pytest.raises(ConfigError, match=reason) as caught:
        infer("task=serve", override)
    assert "\n" not in str(caught.value)


def fail_to_look_up(*arguments, **options):
    raise OSError(-2, "Name or service not known")


@pytest.mark.parametrize("missing", ["uvicorn", "python_multipart"])
def test_without_the_extra_the_remedy_is_named(infer, monkeypatch, capsys, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    for name in [name for name in sys.modules if name.startswith("xrj.web.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(SystemExit):
        user_errors(InferConfig)(lambda _cfg: infer("task=serve"))(OmegaConf.create())
    said = capsys.readouterr().err
    assert (
        said == f"error: {missing}: this Python module is not installed; pip install 'xrj[web]'\n"
    )
