"""Array annotations: jaxtyping's where it is loaded (the test run checks them), free elsewhere.

Importing jaxtyping costs as much as importing numpy, so production code never does. Modules use
`from __future__ import annotations`, and so never evaluate what these names are subscripted with.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING or "jaxtyping" in sys.modules:
    from jaxtyping import Bool, Float, Float32, Int, Num, Shaped
else:

    class Float:
        """An array annotation that nothing evaluates."""

    Bool = Float32 = Int = Num = Shaped = Float

__all__ = ["Bool", "Float", "Float32", "Int", "Num", "Shaped"]
