"""Reading a checkpoint by structure: names, shapes and values first, lists of known names last."""
