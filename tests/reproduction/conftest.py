import shutil

import pytest

from xrj.config import STAGES
from xrj.files import write_json


@pytest.fixture
def runs(chain_runs, tmp_path):
    """Two untrained chains of one split, `tiny` and `tiny-1`, as a trained one leaves them."""
    runs = tmp_path / "runs"
    for name, seed in (("tiny", 0), ("tiny-1", 1)):
        shutil.copytree(chain_runs / "tiny", runs / name)
        for stage in STAGES:
            folder = runs / name / stage
            if folder.is_dir():
                write_json(folder / "run.json", {"settings": {"seed": seed}})
        log = runs / name / "inverse" / "logs" / "version_0" / "metrics.csv"
        log.parent.mkdir(parents=True)
        log.write_text("epoch,val/accuracy,val/diagnosis\n0,0.5,0.7\n1,0.6,0.6\n")
    return runs
