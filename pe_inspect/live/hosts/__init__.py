"""One file a library: how positions are put into its live models."""
