"""Measured side by side: this package, the tutorial's script, and what users would pick instead.

One script a comparison, each alone as `python -m benchmarks.training`; `python -m benchmarks` runs a short form of all.
Every side runs in a fresh process, the sides in turn (A B A B ...), on the same rows.
"""
