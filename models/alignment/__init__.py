"""The alignment model: examples, training, losses, scoring, search, and its report."""
