"""Fine-tune a causal language model to answer with the label word, and publish it."""

__version__ = "0.1.0"
