"""One candidate after another: rungs, halving, what was paid for, what is kept."""
