from __future__ import annotations

import pytest

from pe_inspect.figures import drawings


def row(epoch: int) -> dict[str, str]:
    losses = {"train_loss": f"{2 / epoch}", "test_loss": f"{2.1 / epoch}"}
    accuracy = 0.5 + 0.1 * (epoch if epoch < 3 else 1)
    return {"epoch": str(epoch), "lr": "1e-3", "test_accuracy": f"{accuracy}", **losses}


@pytest.fixture
def figure():
    return drawings["training"]([row(epoch) for epoch in (1, 2, 3)])["curves"]


def test_the_losses_share_axes_and_accuracy_is_in_percent(figure) -> None:
    losses, accuracy, rate = figure.axes
    assert [line.get_label() for line in losses.lines] == ["training", "test"]
    assert list(losses.lines[1].get_ydata()) == pytest.approx([2.1, 1.05, 0.7])
    assert list(accuracy.lines[0].get_ydata()) == pytest.approx([60, 70, 60])
    assert list(rate.lines[0].get_ydata()) == [1e-3] * 3
    assert "%" in accuracy.get_ylabel()
    assert all(axes.get_xlabel() == "epoch" for axes in figure.axes)


def test_the_best_epoch_is_named(figure) -> None:
    assert [text.get_text() for text in figure.axes[1].texts] == ["70.00 % in epoch 2"]


def test_the_name_of_the_best_epoch_is_on_its_side(figure) -> None:
    falling = [{**row(epoch), "test_accuracy": str(0.9 - epoch / 10)} for epoch in (1, 2, 3)]
    first = drawings["training"](falling)["curves"].axes[1].texts[0]
    assert first.xyann[0] < 0.5 < figure.axes[1].texts[0].xyann[0]


def test_one_epoch_is_a_point_and_no_number_has_no_best() -> None:
    figure = drawings["training"]([{**row(1), "test_accuracy": "nan"}])["curves"]
    assert figure.axes[0].lines[0].get_marker() == "o"
    assert not figure.axes[1].texts
    assert any(text.get_text()[-7:] == "1 epoch" for text in figure.texts)
