"""What the results of all questions about a trace share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pe_inspect.analysis.common.notebook_repr import Shown
from pe_inspect.analysis.common.sentences import count_text
from pe_inspect.traces import Trace

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["TraceResult"]

_NAMED: Final = 3  # files left out


class TraceResult(Shown):
    """A mixin of results that are computed from a trace.

    Attributes:
        trace: what was run.
    """

    trace: Trace

    @property
    def parameters(self) -> dict[str, Any]:
        """The choices behind the result: which images, how many, and at which size in pixels."""
        images = self.trace.images
        return {
            "images": images.source,
            "num_images": images.count,
            "res": list(self.trace.res),
            "preprocessing": images.preprocessing,
        }

    @property
    def setting(self) -> tuple[str, ...]:
        """What was run at which size, and on which images, in words."""
        trace, images = self.trace, self.trace.images
        (height, width), (rows, columns) = trace.res, trace.grid_size
        whose = f" ({trace.library})" if trace.library else ""
        source = images.source.removeprefix(f"{images.count} ")
        return (
            f"{trace.architecture}{whose} at {height}×{width} pixels, {rows}×{columns} patches, "
            f"{trace.dtype}",
            f"{count_text(images.count, 'image')}: {source}; {images.preprocessing}",
        )

    @property
    def run_notes(self) -> tuple[str, ...]:
        """Every guess and omission of the run, and the images that could not be read."""
        broken = self.trace.images.left_out
        if not broken:
            return self.trace.notes
        named = "; ".join(broken[:_NAMED])
        more = f"; and {len(broken) - _NAMED} more" if len(broken) > _NAMED else ""
        whole = self.trace.images.count + len(broken)
        return (
            f"{len(broken)} of {whole} images cannot be read and were left out: {named}{more}",
            *self.trace.notes,
        )

    def heading(self, words: str) -> str:
        """Return the title of a figure: whose model it is of, and what it shows."""
        return " · ".join(filter(None, (self.trace.architecture, words)))

    def rows(self) -> list[dict[str, Any]]:
        """Return the numbers of the result, one dictionary a row."""
        raise NotImplementedError

    def arrays(self) -> dict[str, Any]:
        """Return the arrays of the result by the names that they have in its `.npz` file."""
        raise NotImplementedError

    def to_frame(self) -> DataFrame:
        """Return `rows` as a data frame."""
        from pandas import DataFrame

        return DataFrame(self.rows())
