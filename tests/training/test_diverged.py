"""A loss that is no number ends a run: where, at which rate, and what is still good."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pe_inspect.training import Recipe, TrainingDiverged, TrainingInterrupted
from pe_inspect.training.loop import Loop

Train = Callable[..., Path]
NEVER = 1000


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function after which losses are NaN from one step on, and another ends in Ctrl-C."""
    usual = Loop.step

    def steps(*, broken: int = NEVER, stopped: int = NEVER) -> None:
        def step(self: Loop, *batch: torch.Tensor) -> torch.Tensor:
            loss = usual(self, *batch)
            if self.step_number == stopped:
                signal.raise_signal(signal.SIGINT)
            return loss * torch.nan if self.step_number >= broken else loss

        monkeypatch.setattr(Loop, "step", step)

    return steps


@pytest.mark.parametrize(
    ("broken", "kept"),
    [(2, "no checkpoint was saved yet"), (6, "model.safetensors holds epoch 1")],
)
def test_a_loss_that_is_no_number_stops_the_run(
    tiny: Recipe, run: Train, steps: Callable[..., None], tmp_path: Path, broken: int, kept: str
) -> None:
    steps(broken=broken)
    with pytest.raises(TrainingDiverged) as caught:
        run(tiny)
    message = str(caught.value)
    assert f"The loss is no longer a number: step {broken}, epoch" in message
    assert kept in message
    assert message.endswith("Try a lower rate, e.g. --set lr=0.00025.")
    if broken == 6:
        config = json.loads((tmp_path / "run" / "config.json").read_text(encoding="utf-8"))
        assert config["metrics"]["epochs"] == 1
        assert load_file(tmp_path / "run" / "model.safetensors")["pos_embed"].isfinite().all()


@pytest.mark.parametrize("stopped", [2, 6])
def test_a_resumed_run_names_the_step_that_is_still_good(
    tiny: Recipe, run: Train, steps: Callable[..., None], stopped: int
) -> None:
    steps(stopped=stopped)
    with pytest.raises(TrainingInterrupted):
        run(tiny)
    steps(broken=stopped + 1)
    with pytest.raises(TrainingDiverged, match=rf"model\.safetensors holds step {stopped}\."):
        run(tiny, resume=True)


def test_an_earlier_runs_checkpoint_is_not_called_this_ones(
    tiny: Recipe, run: Train, steps: Callable[..., None]
) -> None:
    run(tiny)
    steps(broken=2)
    with pytest.raises(TrainingDiverged, match="no checkpoint was saved yet"):
        run(tiny, force=True)


@pytest.mark.parametrize("epochs", [1, 2])
def test_weights_that_the_last_step_broke_are_not_saved(
    tiny: Recipe, run: Train, tmp_path: Path, epochs: int
) -> None:
    one_step = ["batch_size=32", "warmup_epochs=0", "clip_grad=0", "lr=1e30"]
    with pytest.raises(TrainingDiverged) as caught:
        run(tiny.with_overrides([f"epochs={epochs}", *one_step]))
    said = "The loss on the test images is no longer a number: step 1, epoch 1, lr 1e+30; no"
    assert str(caught.value).startswith(said)
    assert not (tmp_path / "run" / "model.safetensors").exists()
