"""A composition's report card: figures in five dimensions, over the real runtime."""
