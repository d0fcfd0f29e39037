"""What another label of a text costs: questions packed behind the text, against a row for each question.

    python -m benchmarks.questions --dataset FOLDER

Texts per second in training (forward and backward, batches of 16 texts in parts of at most 1,024 tokens, in the
precision of training) and in prediction (fp32, batches of 32 texts). A text with one question is the usual case of one
label column.
"""

import argparse
import time
from typing import Any

from .clock import finish as finish_side
from .material import best_precision, load_rows, model_folder
from .measure import finish, in_turn, medians, parser, side

LABELS = (1, 6, 20, 100)
BATCH, MICROBATCH = 16, 1024
COLUMNS = {"training": "training, texts/s", "prediction": "prediction, texts/s", "tokens": "tokens a text"}


def run_side(args: argparse.Namespace) -> None:
    """Train on the texts and predict them, with so many questions about each."""
    import torch
    from torch.nn.functional import cross_entropy

    from hf_sentiment_ft.label_words import answers
    from hf_sentiment_ft.label_words.model import LabelWordModel
    from hf_sentiment_ft.label_words.prompt import build_prompt, put_prompt_into_tokenizer
    from hf_sentiment_ft.label_words.questions import Questions
    from hf_sentiment_ft.label_words.verbalizer import build_verbalizer
    from hf_sentiment_ft.model.loading import ModelSource, load_model, load_tokenizer
    from hf_sentiment_ft.model.packing import pack, packed_inputs
    from hf_sentiment_ft.training.batches import LabelWordCollator, split_batch

    base, packed = ModelSource(str(args.model), {}), args.side == "packed"
    tokenizer = load_tokenizer(base)
    prompt = build_prompt(tokenizer, "\n{text}?{label_word}")
    words = build_verbalizer(tokenizer, prompt, ["no", "yes"], [" no", " yes"])
    model = load_model(base, "float32", put_prompt_into_tokenizer(tokenizer, prompt), "sdpa")
    names = [f"topic {number}" for number in range(args.labels)]
    questions = Questions(names, [[0, 1]] * args.labels, "\n", multi_label=True)
    loaded = LabelWordModel(model.eval(), put_prompt_into_tokenizer(tokenizer, prompt), words, questions=questions)
    if not packed:
        answers.reads_packed = lambda *given: False
    texts = load_rows(args.dataset, args.rows)["text"][:]

    def train_on(batch: dict[str, Any]) -> None:
        for part in split_batch(batch, MICROBATCH):
            inputs = packed_inputs(part, model.dtype) if packed else dict(part)
            labels = inputs.pop("labels")
            with torch.autocast("cpu", torch.bfloat16, enabled=best_precision() == "bf16"):
                logits = model(**inputs, use_cache=False).logits.flatten(0, 1).float()
            cross_entropy(logits, labels.flatten()).backward()
        model.zero_grad()

    rows = []
    for text in texts:
        ids, lengths = pack(loaded.tokenizer(questions.ask([text])).input_ids)
        rows.append({"input_ids": ids, "question_lengths": lengths, "labels": [words.token_ids[0]] * args.labels})
    rows.sort(key=lambda row: len(row["input_ids"]))
    collate = LabelWordCollator(tokenizer.pad_token_id, {"position_ids", "logits_to_keep"}, packed)
    batches = [collate(rows[start : start + BATCH]) for start in range(0, len(rows), BATCH)]
    train_on(batches[0])
    start = time.perf_counter()
    for batch in batches:
        train_on(batch)
    trained = time.perf_counter() - start
    answers.answer_questions(loaded, texts[:8], 32)
    start = time.perf_counter()
    answers.answer_questions(loaded, texts, 32)
    predicted = time.perf_counter() - start
    tokens = sum(int(batch["attention_mask"].sum()) for batch in batches)
    finish_side(training=len(texts) / trained, prediction=len(texts) / predicted, tokens=tokens / len(texts))


def main() -> None:
    made = parser("benchmarks.questions", rows=32, rounds=1)
    made.add_argument("--side", choices=("packed", "rows"), help=argparse.SUPPRESS)
    made.add_argument("--labels", type=int, default=0, help=argparse.SUPPRESS)
    args = made.parse_args()
    if args.side:
        return run_side(args)
    folder = model_folder(args.model)
    flags = ["--model", folder, "--dataset", args.dataset, "--rows", args.rows]
    del args.side, args.labels
    sides = {}
    for labels in LABELS:
        for name, key in {"packed": "packed", "a row a question": "rows"}.items():
            sides[f"{labels} labels, {name}"] = side("questions", *flags, "--labels", labels, "--side", key)
    runs = in_turn(sides, args.rounds)
    table = medians(runs, COLUMNS)
    for one, other in zip(table[::2], table[1::2], strict=True):
        for row in (one, other):
            row["× a row a question"] = row["training, texts/s"] / other["training, texts/s"]
    return finish("Several questions about a text", args, table, [], runs=runs)


if __name__ == "__main__":
    main()
