"""A tiny untrained chain, and one of its justifications."""

import numpy as np
import pytest

from tests.chains import mapping_settings
from xrj.justify.justification import justify
from xrj.justify.model import STAGES, JustificationModel


@pytest.fixture(scope="session")
def model(chain_runs):
    folders = {stage: chain_runs / "tiny" / stage for stage in STAGES}
    return JustificationModel.load(folders, "tiny", "ours_label", "cpu")


@pytest.fixture(scope="session")
def image():
    return np.random.default_rng(0).integers(0, 256, (90, 80), dtype=np.uint8)


@pytest.fixture(scope="session")
def justification(model, image, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "patient.png"
    return justify(model, image, path, mapping_settings(tries=2), seed=0)
