"""The fixtures that the tests of this room share."""

from made_states import make

__all__ = ["make"]
