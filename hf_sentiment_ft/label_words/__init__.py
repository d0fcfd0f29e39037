"""Ask a causal language model for label words.

`template` writes out the prompt template, `prompt` puts the prompt into the tokenizer, `verbalizer` chooses the label
words and their tokens, `tokenization` turns texts into prompts, `scoring` scores the label words behind them, `task`
brings these together with model and rows, `calibration` is what turns scores into probabilities, `model` loads a
trained model to answer, `attribution` says on which words an answer depends, `classifier` exports the model for text
classification, and `export` as an ONNX graph.
"""

from .calibration import Calibration
from .classifier import export_text_classification
from .export import export_onnx
from .task import build_task, prepare_task
from .tokenization import tokenize_splits

__all__ = [
    "build_task",
    "Calibration",
    "export_onnx",
    "export_text_classification",
    "prepare_task",
    "tokenize_splits",
]
