from types import SimpleNamespace

import pytest

from xrj.callbacks.progress import EpochLines


@pytest.mark.parametrize(
    ("value", "absent", "shown"),
    [
        (0.5, ["c"], "balanced accuracy 0.5000, "),
        (float("nan"), ["c"], "balanced accuracy nan (no 'c' in val), "),
        (float("nan"), [], "balanced accuracy nan, "),
    ],
)
def test_a_measure_that_is_nan_comes_with_its_reason(capsys, value, absent, shown):
    trainer = SimpleNamespace(
        current_epoch=0,
        max_epochs=1,
        is_global_zero=True,
        callback_metrics={"val/balanced_accuracy": value},
    )
    lines = EpochLines("inverse", lambda: absent)
    stage = SimpleNamespace(headline="val/balanced_accuracy")
    lines.on_train_start(trainer, stage)
    lines.on_train_epoch_end(trainer, stage)
    assert f"inverse: epoch 1/1, {shown}" in capsys.readouterr().out
