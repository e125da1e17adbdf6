"""Live models: rebuilt from a checkpoint, with their parts named."""
