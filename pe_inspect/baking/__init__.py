"""A checkpoint at another resolution, in its own format: `bake` is the way in."""
