"""What `import pe_inspect` offers: each function takes whatever holds a position embedding.

Analyses are handed containers. Here a path, a checkpoint, a module or a state dict becomes one,
in one place (`subject.py`), so that nothing behind this room asks what it was given.
"""
