"""Files that do not fit what a model expects of them: rows of a table, or a size of images."""

from __future__ import annotations

from collections.abc import Iterator

from pe_inspect.diagnosis.case import Case
from pe_inspect.diagnosis.checks import on_case
from pe_inspect.diagnosis.held_tables import trunk_of
from pe_inspect.diagnosis.mismatch import ExpectedTable, mismatch, px
from pe_inspect.diagnosis.readings import Readings, RowDivision
from pe_inspect.errors import UsageError
from pe_inspect.families.reading.bias_tables import CLS_ROWS
from pe_inspect.finding import Finding
from pe_inspect.loading.checkpoint import Checkpoint

__all__ = ["expected_resolution", "expected_rows"]


@on_case(
    "expected-fit",
    codes=("mismatch-rows",),
    is_asked=lambda expected: expected.rows is not None or expected.pixels is not None,
)
def expected_fit(case: Case) -> Iterator[Finding]:
    """A number of rows, or a size of images, that the file does not have."""
    checkpoint, tables = case.as_examined, case.tables_of_rows
    if case.expected.rows is not None:
        yield from expected_rows(checkpoint, tables, case.expected.rows)
    if case.expected.pixels is not None:
        yield from expected_resolution(checkpoint, tables, case.expected.pixels)


def expected_rows(
    checkpoint: Checkpoint, tables: tuple[Readings, ...], rows: int
) -> Iterator[Finding]:
    """Explain why no table has as many rows as a model expects; nothing where one has.

    Raises:
        UsageError: the file holds no table of rows.
    """
    if not _check_countable(checkpoint, tables, "--expect"):
        return
    if all(found.rows != rows for found in tables):
        yield mismatch(checkpoint, tables[0], ExpectedTable(rows, f"your model (--expect {rows})"))


def expected_resolution(
    checkpoint: Checkpoint, tables: tuple[Readings, ...], pixels: tuple[int, int]
) -> Iterator[Finding]:
    """Explain why a table does not fit images of so many pixels; nothing where it does.

    Raises:
        UsageError: nothing tells the patch size, or the image is smaller than a patch.
    """
    _check_countable(checkpoint, tables, "--expect-res")
    first = tables[0]
    if first.is_window:  # Swin's windows do not grow with the image
        return
    patch = trunk_of(checkpoint).patch_size
    if patch is None:
        raise UsageError(
            f"--expect-res {px(pixels)}: {checkpoint.source} does not tell its patch size. Pass "
            "--patch-size P."
        )
    grid = pixels[0] // patch[0], pixels[1] // patch[1]
    if 0 in grid:
        raise UsageError(f"--expect-res {px(pixels)} is smaller than a patch ({px(patch)}).")
    likeliest = first.likeliest
    if grid not in {each.grid_size for each in likeliest}:
        yield mismatch(checkpoint, first, _at(first, grid, likeliest[0], pixels))


def _at(
    first: Readings, grid: tuple[int, int], have: RowDivision, pixels: tuple[int, int]
) -> ExpectedTable:
    prefix = have.num_prefix_rows
    rows = (
        (2 * grid[0] - 1) * (2 * grid[1] - 1) + CLS_ROWS * prefix
        if first.is_bias
        else prefix + grid[0] * grid[1] + have.num_suffix_rows
    )
    reading = RowDivision(grid, prefix, "said", have.num_suffix_rows)
    return ExpectedTable(
        rows,
        f"your model at {px(pixels)} px (--expect-res {px(pixels)})",
        reading,
    )


def _check_countable(checkpoint: Checkpoint, tables: tuple[Readings, ...], option: str) -> bool:
    if not tables:
        raise UsageError(
            f"{option}: {checkpoint.source} holds no table whose rows could be counted: its "
            "position embedding is computed."
        )
    return True
