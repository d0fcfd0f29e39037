"""TF-IDF with logistic regression, as the report's baseline has it: what counting words achieves on the same rows.

python -m benchmarks.tfidf_run [flags of hf_sentiment_ft.train]
"""

import sys
import time

from .clock import finish, output_dir
from .head_accuracy import figures_of


def main() -> None:
    from sklearn.linear_model import LogisticRegression

    from hf_sentiment_ft.config.command_line import parse_train_arguments
    from hf_sentiment_ft.data.splits import load_splits
    from hf_sentiment_ft.evaluation.tfidf import counted_words

    _, data_args, _, _, args = parse_train_arguments([*sys.argv[1:], "--output_dir", output_dir()])
    data = load_splits(data_args, args.seed)
    texts, labels = (data.splits["train"][column][:] for column in ("text", "label"))
    start = time.monotonic()
    words = counted_words(texts, (1, 2))
    model = LogisticRegression(C=10, max_iter=200).fit(words.transform(texts), labels)
    figures = {"train_runtime": time.monotonic() - start}
    finish(**figures, **figures_of(data, lambda rows: model.predict_log_proba(words.transform(rows["text"][:]))))


if __name__ == "__main__":
    main()
