"""`pe-inspect train RECIPE`: make a checkpoint."""

from __future__ import annotations

from pe_inspect.commands.shell import MAKE, command
from pe_inspect.commands.shell.options import Terminal
from pe_inspect.commands.shell.training import (
    announce,
    first_speaks,
    tell_trained,
    train_with_progress,
)
from pe_inspect.commands.shell.training_options import RecipeName, TrainingOptions
from pe_inspect.training.launch import launched


@command("train", panel=MAKE, needs=("torch",))
def train(recipe: RecipeName, terminal: Terminal, training: TrainingOptions) -> None:
    """Make a checkpoint from a recipe."""
    is_first = launched().is_first
    quiet = terminal.quiet or not is_first
    with first_speaks():
        chosen = training.of_recipe(recipe)
    if not quiet:
        announce(chosen, training.extend or 0)
    folder = train_with_progress(
        chosen, quiet=quiet, is_resumed=training.resume, **training.arguments()
    )
    if is_first:
        tell_trained(folder, training.export, terminal)
