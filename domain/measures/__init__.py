"""The arithmetic of the numbers: additive changes folded into levels, counts and rates."""
