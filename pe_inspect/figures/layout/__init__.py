"""How figures are laid out: lines, maps, mosaics and rows, and the look that all share."""
