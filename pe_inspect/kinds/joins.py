"""How a position embedding enters the model: every fact about a join, stated once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

__all__ = ["JOINS", "Join", "SchemeJoin"]

Join = Literal["input", "lape", "pvg", "mpvg", "share", "unshare", "layer", "none"]


@dataclass(frozen=True)
class SchemeJoin:
    """One way to enter the model.

    Attributes:
        word: its public name.
        at_input: the table is added to the tokens once, ahead of the first block.
        in_blocks: tokens receive a table in the blocks.
        is_recurrent: each block has a position norm, and receives the norm of what the block
            before received.
        has_table_per_block: each block has a table of its own.
        before_last_norm: a position norm acts ahead of the model's last norm as well.
        in_attention: attention receives it, and tokens do not.
    """

    word: Join
    at_input: bool = False
    in_blocks: bool = False
    is_recurrent: bool = False
    has_table_per_block: bool = False
    before_last_norm: bool = False
    in_attention: bool = False

    @property
    def shares_one_table(self) -> bool:
        """Whether blocks receive the same table."""
        return self.in_blocks and not self.has_table_per_block

    @property
    def first_normed_block(self) -> int:
        """The first block with a position norm: where the table is added at the input, block 1."""
        return int(self.at_input)


JOINS: Final[Mapping[str, SchemeJoin]] = MappingProxyType(
    {
        join.word: join
        for join in (
            SchemeJoin("input", at_input=True),
            SchemeJoin("share", in_blocks=True),
            SchemeJoin("unshare", in_blocks=True, has_table_per_block=True),
            SchemeJoin("lape", in_blocks=True, is_recurrent=True),
            SchemeJoin("pvg", at_input=True, in_blocks=True, is_recurrent=True),
            SchemeJoin(
                "mpvg", at_input=True, in_blocks=True, is_recurrent=True, before_last_norm=True
            ),
            SchemeJoin("layer", in_attention=True),
            SchemeJoin("none"),
        )
    }
)
