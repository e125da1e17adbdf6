"""The fixtures that the tests of this room share."""

from made_models import as_checkpoint, lively, noise

__all__ = ["as_checkpoint", "lively", "noise"]
