"""Fine-tune a causal language model to answer with the label word, and publish it."""

import os
import sys

__version__ = "0.1.0"

# A command started in this very folder must not take our modules for libraries of the same name, such as evaluate.
_here = os.path.dirname(os.path.realpath(__file__))
sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry) != _here]
