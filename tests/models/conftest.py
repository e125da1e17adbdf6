"""The fixtures that the tests of this room share."""

from made_vits import images, vit

__all__ = ["images", "vit"]
