"""What the readers of schemes share: names, grids, norms, and what a file says of itself."""
