"""The fixtures that the tests of this room share."""

from made_models import as_checkpoint, lively, noise
from made_states import make
from made_vits import images, vit

__all__ = ["as_checkpoint", "images", "lively", "make", "noise", "vit"]
