"""Accuracy of recipes over several seeds, and of few examples per class against a head, SetFit and TF-IDF.

    python -m benchmarks.accuracy recipes --dataset FOLDER --seeds 42 43 44
    python -m benchmarks.accuracy few_shot --dataset FOLDER --seeds 42 43 44
    python -m benchmarks.accuracy temperature --dataset FOLDER --seeds 42 43 44
    python -m benchmarks.amazon_reviews build/amazon_reviews  # another task, and then
    python -m benchmarks.accuracy recipes --dataset build/amazon_reviews --names "1 epoch"

Every run is kept in `benchmarks/accuracy/` as soon as it ends, and one that is there is not made again, so that hours
of runs can be stopped and gone on with. docs/accuracy.md is written from all of them.
"""

import argparse
import json
import shlex
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from .material import model_folder
from .measure import MODEL, ROOT, machine, run_side, side, versions
from .tables import table

RUNS = Path(__file__).parent / "accuracy"
ABOUT = (
    "How accurate the models are: recipes over seeds, few examples per class beside a classification head, SetFit "
    "and TF-IDF, and temperature scaling."
)
RECIPES = {
    "the tutorial's recipe": ["recipes/tutorial.yaml"],
    "1 epoch": ["--num_train_epochs", "1"],  # the default
    "1 epoch, learning rate 1e-4": ["--num_train_epochs", "1", "--learning_rate", "1e-4"],
    "1 epoch, label smoothing": ["--num_train_epochs", "1", "--label_smoothing_factor", "0.1"],
    "1 epoch, batches of 8": ["--num_train_epochs", "1", "--per_device_train_batch_size", "8"],
    "1 epoch, batches of 32, learning rate 1e-4": [
        *("--num_train_epochs", "1", "--per_device_train_batch_size", "32", "--learning_rate", "1e-4")
    ],
    "1 epoch, cosine schedule": ["--num_train_epochs", "1", "--lr_scheduler_type", "cosine"],
    "1 epoch, weight decay 0.1": ["--num_train_epochs", "1", "--weight_decay", "0.1"],
    "1 epoch, bad and good": ["--num_train_epochs", "1", "--label_words", " bad, good"],
    "3 epochs, the best one kept": ["--num_train_epochs", "3"],
    "2 epochs": ["--num_train_epochs", "2"],
    "2 epochs, label smoothing": ["--num_train_epochs", "2", "--label_smoothing_factor", "0.1"],
    "2 epochs, noise on embeddings": [
        *("--num_train_epochs", "2", "--per_device_train_batch_size", "32", "--learning_rate", "1e-4"),
        *("--lr_scheduler_type", "cosine", "--weight_decay", "0.1", "--neftune_noise_alpha", "5"),
    ],
}
# The default until something before the text was measured.
TEXT_FIRST = ["--prompt_template", "{text}\\nSentiment:{label_word}"]
RECIPES |= {
    f"{name}, the text first": [*flags, *TEXT_FIRST] for name, flags in RECIPES.items() if "tutorial" not in name
}
# Chosen once, before any run, and not by figures.
DESCRIPTIONS = {
    "rotten_tomatoes": {"neg": "the reviewer did not like the film", "pos": "the reviewer liked the film"},
}
HEAD = "classification head, 1 epoch"  # on the same model, rows, steps and learning rate
FEW_SHOT_STEPS = {8: 10, 64: 24, 512: 128}  # rows of each class: steps of 16 rows
DESCRIBED_SHOTS = (0, 8, 64)
SETFIT_STEPS = {8: -1, 64: 150, 512: 150}  # of 16 pairs, 32 texts; its default, -1, is all pairs: 9, 520, 32,832 steps
TEMPERATURE = "1 epoch of 1,000 rows"
KINDS = {"recipes": "Recipes", "few_shot": "Few examples per class", "temperature": "Temperature scaling"}
PEERS = (
    "SetFit is the package of that name with the encoder all-MiniLM-L6-v2 (22.7 million parameters; the causal model "
    "has 134.5) and its own defaults, except that 64 rows a class or more make 150 steps of 16 pairs instead of 520 or "
    "more: still more texts than the label words read. Larger encoders were not tried. TF-IDF is the report's "
    "baseline. All of a seed have the same rows. Log losses and calibration errors are before temperature scaling. CPU "
    "seconds are of whole processes on one core, both evaluations included, beside other work: an order of magnitude."
)
DESCRIBED = (
    "Described: the prompt says before each text what the labels mean (`--label_descriptions`): "
    + "; ".join(f"{label}, {meaning}" for of in DESCRIPTIONS.values() for label, meaning in of.items())
    + ". The descriptions were chosen before any run."
)
CALIBRATED = (
    "What calibration makes of single runs, on test: the prior is the mean probability over the validation texts, "
    "without their labels (`--calibration validation`); the temperature is fitted on their labels, 1,066 of them."
)
CALIBRATED_COLUMNS = {
    "test_accuracy": "accuracy",
    "test_calibrated_accuracy": "accuracy, without the prior",
    "test_unscaled_log_loss": "log loss",
    "test_calibrated_log_loss": "log loss, without the prior",
    "test_log_loss": "log loss, with the temperature",
}
UNDECIDED = "Errors among the test rows that `predict --target_error` decides, and how many rows these are:"
AT_THE_END = ["--eval_strategy", "no", "--save_strategy", "no", "--load_best_model_at_end", "false"]
COLUMNS = {
    "eval_accuracy": "validation",
    "eval_log_loss": "validation, log loss",
    "test_accuracy": "test",
    "test_generation_accuracy": "test, as generated",
    "test_expected_calibration_error": "test, calibration error",
}
FEW_SHOT_COLUMNS = {"test_log_loss": "test, log loss", "cpu_seconds": "CPU seconds", "peak_gib": "memory, GiB"}


def few_shot_flags(shots: int) -> list[str]:
    """The same rows, steps and batches for both sides."""
    steps = str(FEW_SHOT_STEPS[shots])
    return ["--num_shots_per_class", str(shots), "--max_steps", steps, "--zero_shot_baseline", "false", *AT_THE_END]


def planned(
    kind: str, seeds: list[int], names: list[str] | None, task: str = "rotten_tomatoes"
) -> list[tuple[str, int, str, list[str]]]:
    """Name, seed, side and flags of each run, seed by seed."""
    described = ["--label_descriptions", json.dumps(DESCRIPTIONS.get(task))]
    runs = []
    for seed in seeds:
        if kind == "recipes":
            runs += [(name, seed, "accuracy_run", flags) for name, flags in RECIPES.items()]
            runs.append((HEAD, seed, "head_accuracy", RECIPES["1 epoch"]))
        elif kind == "temperature":
            flags = ["--max_train_samples", "1000", "--max_eval_samples", "500", *AT_THE_END]
            flags += ["--zero_shot_baseline", "false", "--temperature_scaling", "true"]
            runs.append((TEMPERATURE, seed, "accuracy_run", flags))
        else:
            untouched = [*few_shot_flags(8), "--max_steps", "1", "--learning_rate", "0"]
            for shots, flags in ({0: untouched} | {n: few_shot_flags(n) for n in FEW_SHOT_STEPS}).items():
                runs.append((f"{shots} a class, label words", seed, "accuracy_run", flags))
                runs.append((f"{shots} a class, label words, the text first", seed, "accuracy_run", flags + TEXT_FIRST))
                if shots in DESCRIBED_SHOTS and task in DESCRIPTIONS:
                    runs.append((f"{shots} a class, label words, described", seed, "accuracy_run", flags + described))
                if shots:
                    runs.append((f"{shots} a class, classification head", seed, "head_accuracy", flags))
                    of_pairs = [*flags, "--max_steps", str(SETFIT_STEPS[shots])]
                    runs.append((f"{shots} a class, SetFit", seed, "setfit_run", of_pairs))
                    runs.append((f"{shots} a class, TF-IDF", seed, "tfidf_run", flags))
    return [run for run in runs if names is None or run[0] in names]


def summarize(kind: str, runs: list[dict[str, Any]]) -> str:
    """One row a name: mean and spread (half of largest minus smallest) over the seeds."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for run in runs:
        found[run["name"]].append(run["figures"])
    columns = COLUMNS | FEW_SHOT_COLUMNS if kind == "few_shot" else COLUMNS
    rows = []
    for name, figures in found.items():
        row: dict[str, Any] = {"": name, "seeds": len(figures)}
        for key, head in columns.items():
            values = [value for of in figures if (value := unscaled(of, key)) is not None]
            digits = 0 if head == "CPU seconds" else 3
            row[head] = None
            if values:
                spread = f" (± {(max(values) - min(values)) / 2:.{digits}f})" if len(values) > 1 else ""
                row[head] = f"{statistics.mean(values):.{digits}f}{spread}"
        rows.append(row)
    order = [name for name, *_ in planned(kind, [0], None)]
    return table(sorted(rows, key=lambda row: order.index(row[""])))


def unscaled(figures: dict[str, Any], key: str) -> float | None:
    """A figure before temperature scaling: older runs had none, and few rows should not be helped by 1,066 others."""
    split, _, name = key.partition("_")
    return figures.get(f"{split}_unscaled_{name}", figures.get(key))


def calibrated(runs: list[dict[str, Any]]) -> str:
    """One row a run of the label words: what subtracting the prior, or dividing by a temperature, does on test."""
    rows = []
    for run in runs:
        figures = run["figures"]
        if "test_unscaled_log_loss" in figures:
            row = {"": run["name"], "seed": run["seed"]}
            row |= {head: f"{figures[key]:.3f}" if key in figures else None for key, head in CALIBRATED_COLUMNS.items()}
            rows.append(row)
    return table(rows)


def before_and_after(runs: list[dict[str, Any]]) -> str:
    """One row a seed: what the temperature does to the probabilities on test."""
    heads = {"log_loss": "log loss", "expected_calibration_error": "calibration error", "brier_score": "Brier score"}
    rows = []
    for run in runs:
        figures = run["figures"]
        row: dict[str, Any] = {"seed": run["seed"], "temperature": figures["test_temperature"]}
        row["accuracy"] = f"{figures['test_accuracy']:.3f}"
        for key, head in heads.items():
            row[f"{head}, before"], row[f"{head}, after"] = (
                f"{figures[f'test_{kind}{key}']:.4f}" for kind in ("unscaled_", "")
            )
        rows.append(row)
    return table(rows)


def decided(runs: list[dict[str, Any]]) -> str:
    """One row a seed: share of decided test rows and the error among these, by target error."""
    rows = []
    for run in runs:
        row: dict[str, Any] = {"seed": run["seed"]}
        for target in ("0.01", "0.02", "0.05", "0.1", "0.2"):
            found = run["figures"]["test_target_errors"].get(target)
            row[f"at most {target}"] = f"{found['error']:.3f} of {found['decided']:.0%}" if found else None
        rows.append(row)
    return table(rows)


def place(run: dict[str, Any]) -> str:
    """Machine and versions of a run."""
    gpu = f"{run['machine']['gpu']}; " if "gpu" in run["machine"] else ""
    installed = ", ".join(f"{name} {number}" for name, number in run["versions"].items())
    return f"{gpu}{run['machine']['cpu']}, cores used: {run['machine']['cores']}; {installed}"


def write_page() -> None:
    """Write docs/accuracy.md from the runs that are there."""
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RUNS.glob("*.json"))]
    if not runs:
        return
    page = ["# Accuracy", ABOUT, "Written by `python -m benchmarks.accuracy`, from `benchmarks/accuracy/*.json`."]
    page.append(
        f"Model: {runs[-1]['model']}. Recipes are chosen by the validation columns, by log loss where seeds "
        "differ more than recipes do; test is for reporting. "
        "± is half the distance from the lowest to the highest seed. Speeds are in docs/performance.md."
    )
    made = {run["name"] for run in runs}
    flags = [f"| {name} | `{shlex.join(flags)}` |" for name, flags in RECIPES.items() if name in made]
    page += ["\n".join(["| recipe | flags |", "|---|---|", *flags])]
    page += [
        "A classification head (AutoModelForSequenceClassification) has the same rows, steps, batches, learning rate "
        "and precision as the label words beside it."
    ]
    page += ["`python -m benchmarks.amazon_reviews FOLDER/amazon_reviews` makes the second task."]
    tasks = sorted({run["dataset"] for run in runs}, reverse=True)
    for kind, title in KINDS.items():
        for task in tasks:
            of_task = [run for run in runs if (run["kind"], run["dataset"]) == (kind, task)]
            if of_task:
                seeds = " ".join(sorted({str(run["seed"]) for run in of_task}))
                page += [
                    f"## {title}: {task}",
                    f"    python -m benchmarks.accuracy {kind} --dataset FOLDER/{task} --seeds {seeds}",
                ]
                if kind == "temperature":
                    page += [f"`{shlex.join(of_task[0]['flags'])}`; figures on test.", before_and_after(of_task)]
                    page += [UNDECIDED, decided(of_task)]
                else:
                    page += [summarize(kind, of_task)]
                if kind == "few_shot":
                    page += [PEERS]
                    page += [DESCRIBED] if any("described" in run["name"] for run in of_task) else []
                    page += [CALIBRATED, calibrated(of_task)]
    places: dict[str, list[str]] = defaultdict(list)
    for kind, title in KINDS.items():
        if of_kind := [run for run in runs if run["kind"] == kind]:
            places[place(max(of_kind, key=lambda run: len(run["versions"])))].append(title.lower())
    page += [f"{', '.join(titles).capitalize()}: {where}." for where, titles in places.items()]
    (ROOT / "docs" / "accuracy.md").write_text("\n\n".join(page) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description="Accuracy over several seeds.")
    parser.add_argument("kind", choices=(*KINDS, "page"), help="page: only write docs/accuracy.md")
    parser.add_argument("--dataset", default="package:hf_sentiment_ft/sample_reviews", help="as --dataset_name")
    parser.add_argument("--model", default=MODEL, help="base model")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42])
    parser.add_argument("--names", nargs="+", help="only these rows of the table")
    args = parser.parse_args()
    RUNS.mkdir(exist_ok=True)
    task = args.dataset.rstrip("/").rpartition("/")[2]
    for name, seed, module, flags in [] if args.kind == "page" else planned(args.kind, args.seeds, args.names, task):
        path = RUNS / f"{args.kind}-{task}-{''.join(c if c.isalnum() else '_' for c in name)}-{seed}.json"
        if path.is_file():
            continue
        where = ["--model_name_or_path", model_folder(args.model), "--dataset_name", args.dataset]
        figures = run_side(side(module, *flags, *where, "--seed", seed))
        print(f"{name}, seed {seed}: {figures}", file=sys.stderr, flush=True)
        record = {
            "kind": args.kind,
            "name": name,
            "seed": seed,
            "flags": flags,
            "figures": figures,
            "machine": machine(),
        }
        record |= {"versions": versions(), "model": args.model.rpartition("/")[2], "dataset": task}
        path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    write_page()


if __name__ == "__main__":
    main()
