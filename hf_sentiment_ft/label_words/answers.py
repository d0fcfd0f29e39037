"""Ask a trained model all its questions about texts."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..model.packing import pack, pack_batch, packed_inputs, reads_packed
from .model import LabelWordModel, predict_probabilities
from .scoring import label_probabilities, score_single_tokens

if TYPE_CHECKING:
    from .questions import Questions

QUESTIONS_AT_ONCE = 4  # for each text of a batch; more would need much memory for their logits


def answer_questions(
    loaded: LabelWordModel, texts: list[str], batch_size: int, precision: str = "fp32"
) -> "np.ndarray[Any, Any]":
    """Return the probabilities of the answers to all questions of a model about each text.

    Args:
        loaded: Trained model of several questions.
        texts: Texts without question and prompt.
        batch_size: Maximum number of texts in one forward pass; fewer if there are many questions.
        precision: See `predict_probabilities`.

    Returns:
        Probabilities, (rows, questions, num_labels), those of labels that cannot be the answer being 0.
    """
    model, verbalizer, questions = loaded.model, loaded.verbalizer, loaded.questions
    assert questions is not None
    num_labels, num_questions = len(verbalizer.labels), len(questions.names)
    at_once = max(1, min(batch_size, QUESTIONS_AT_ONCE * batch_size // num_questions))
    single = verbalizer.max_tokens == 1 and not verbalizer.synonyms
    if single and reads_packed(model, loaded.tokenizer.pad_token_id):
        # One context for all batches: autocast keeps the converted weights until it ends.
        with torch.inference_mode(), torch.autocast(model.device.type, torch.bfloat16, enabled=precision == "bf16"):
            scores = _read_packed(loaded, questions, texts, at_once)
        probabilities = label_probabilities(scores.reshape(-1, num_labels) / loaded.calibration.temperature)
    else:
        probabilities = predict_probabilities(loaded, questions.ask(texts), batch_size, precision)
    possible = probabilities.reshape(-1, num_questions, num_labels) * questions.allowed(num_labels)
    return np.asarray(possible / possible.sum(axis=2, keepdims=True))


def _read_packed(
    loaded: LabelWordModel, questions: "Questions", texts: list[str], at_once: int
) -> "np.ndarray[Any, Any]":
    """Return the scores of the label words, (rows, questions, num_labels)."""
    model, tokenizer, num_questions = loaded.model, loaded.tokenizer, len(questions.names)
    prompts = tokenizer(questions.ask(texts), truncation=True).input_ids
    packed = [pack(prompts[place : place + num_questions]) for place in range(0, len(prompts), num_questions)]
    order = sorted(range(len(texts)), key=lambda row: len(packed[row][0]))
    scores = np.empty((len(texts), num_questions, len(loaded.verbalizer.labels)))
    for start in range(0, len(order), at_once):
        rows = order[start : start + at_once]
        batch = pack_batch([packed[row] for row in rows], tokenizer.pad_token_id)
        inputs = packed_inputs({name: value.to(model.device) for name, value in batch.items()}, model.dtype)
        logits = model(**inputs, use_cache=False).logits.flatten(0, 1)
        found = score_single_tokens(logits, loaded.verbalizer)[0].float().cpu().numpy()
        scores[rows] = found.reshape(len(rows), num_questions, -1)
    return scores
