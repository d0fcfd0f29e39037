"""Parse flags and recipes, and check them."""
