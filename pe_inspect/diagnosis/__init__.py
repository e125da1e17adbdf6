"""The doctor: every check of files and of embeddings, and what it makes of them."""
