"""The kinds of position embedding: the container, its parts, and what each kind shares."""
