"""What the results of all questions about a trace share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pe_inspect.analysis.common.notebook_repr import Shown
from pe_inspect.traces import Trace

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["TraceResult"]


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
        }

    def rows(self) -> list[dict[str, Any]]:
        """Return the numbers of the result, one dictionary a row."""
        raise NotImplementedError

    def to_frame(self) -> DataFrame:
        """Return `rows` as a data frame."""
        from pandas import DataFrame

        return DataFrame(self.rows())
