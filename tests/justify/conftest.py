"""A tiny untrained chain, and one of its justifications."""

import numpy as np
import pytest
import yaml

from tests.chains import CONF, heart_lexicon, mapping_settings
from xrj.justify.evidence import EvidenceSettings
from xrj.justify.justification import JustifySettings, justify
from xrj.justify.model import STAGES, JustificationModel
from xrj.justify.on_xray import BlendSettings
from xrj.justify.refinement import RefinementSettings

BLEND = BlendSettings(threshold=0.1, smooth=0.02, least=0.2, close=0.06, feather=0.04)


@pytest.fixture(scope="session")
def model(chain_runs):
    folders = {stage: chain_runs / "tiny" / stage for stage in STAGES}
    return JustificationModel.load(folders, "tiny", "ours_label", 4, "cpu")


@pytest.fixture(scope="session")
def image():
    return np.random.default_rng(0).integers(0, 256, (90, 80), dtype=np.uint8)


@pytest.fixture(scope="session")
def settings():
    refinement = yaml.safe_load((CONF / "refinement" / "default.yaml").read_text())
    return JustifySettings(
        mapping=mapping_settings(tries=2),
        refinement=RefinementSettings(**refinement | {"steps": 3}),
        evidence=EvidenceSettings({"cardiomegaly": 1, "normal": -1}, 0.5, heart_lexicon()),
        blend=BLEND,
        walk=4,
        batch=4,
    )


@pytest.fixture(scope="session")
def justification(model, image, settings):
    return justify(model, image, "folder/patient.png", settings, seed=0)
