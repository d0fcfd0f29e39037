"""Read flags and recipes, and check them."""
