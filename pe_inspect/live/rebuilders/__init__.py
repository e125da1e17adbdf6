"""One file a source: how its checkpoints become live models."""
