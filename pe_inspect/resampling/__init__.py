"""A position table on another grid: methods by name, target grids, what a model demands."""
