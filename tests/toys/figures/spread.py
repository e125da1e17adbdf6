"""The toy question's figure: one bar a table."""

from __future__ import annotations

from matplotlib.figure import Figure

from pe_inspect.figures import drawings


@drawings.register("spread")
def draw(result) -> dict[str, Figure]:
    """Draw the bars."""
    figure = Figure(figsize=(3, 2))
    axes = figure.subplots()
    axes.bar(range(len(result.spreads)), result.spreads)
    axes.set(xlabel="table", ylabel="largest − smallest")
    figure.text(0, 1, "Spread", gid="title")
    return {"spread": figure}
