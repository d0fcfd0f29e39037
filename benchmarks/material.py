"""What all sides work on: the same weights in a folder, the same rows."""

import argparse
from pathlib import Path
from typing import Any

from hf_sentiment_ft.config.arguments import DEFAULT_PROMPT_TEMPLATE

from .measure import ROOT

WORDS = (" negative", " positive")


def model_folder(name: str) -> Path:
    """The base model as a folder of safetensors, which every side can read; made once."""
    folder = ROOT / "build" / "benchmarks" / name.rpartition("/")[2].removesuffix(".gguf")
    if not (folder / "model.safetensors").is_file():
        from transformers import AutoTokenizer

        from hf_sentiment_ft.config.arguments import ModelArguments
        from hf_sentiment_ft.model.loading import find_base_model, load_model

        base = find_base_model(ModelArguments(model_name_or_path=name))
        tokenizer = AutoTokenizer.from_pretrained(base.path, **base.options)
        load_model(base, "float32", tokenizer).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder


def prompt_of(text: str) -> str:
    """What our command asks by default, for sides that have no prompt of their own."""
    return DEFAULT_PROMPT_TEMPLATE.format(text=text, label_word="")


def best_precision() -> str:
    """What our command chooses by itself on this device."""
    import torch

    from hf_sentiment_ft.runtime.device import choose_precision

    return choose_precision("auto", torch.device("cuda" if torch.cuda.is_available() else "cpu"))


def load_rows(dataset: str, rows: int, split: str = "train") -> Any:
    """The rows that `--max_train_samples` of our own command draws: columns `text` and `label`."""
    from hf_sentiment_ft.config.arguments import DataArguments
    from hf_sentiment_ft.data.splits import load_splits

    limits = {"max_train_samples": rows, "max_eval_samples": rows, "max_test_samples": rows}
    return load_splits(DataArguments(dataset_name=dataset, **limits), seed=42).splits[split]


def rows_by_length(dataset: str, model: Path, rows: int, batch_size: int) -> Path:
    """Rows for a training that is timed in short, as a run on the whole train split meets them.

    A run brings rows of similar length together. Among few rows there are few of any length, so that batches of a
    small sample are padded more than those of the whole split, by half and more. Hence whole batches are taken, from
    the whole split's order, evenly from the longest to the shortest. Sides that train by length read them in this
    order; the others shuffle.

    Returns:
        A folder with the splits as parquet files; made once.
    """
    from hf_sentiment_ft.config.arguments import DataArguments
    from hf_sentiment_ft.data.sampling import EpochSampler
    from hf_sentiment_ft.data.splits import load_splits

    name = f"{dataset.rstrip('/').rpartition('/')[2]}-{rows}-by-{batch_size}"
    folder = ROOT / "build" / "benchmarks" / "rows" / model.name / name  # lengths are those of a model's tokens
    if (folder / "train.parquet").is_file():
        return folder
    splits = load_splits(DataArguments(dataset_name=dataset, max_eval_samples=8, max_test_samples=8), seed=42).splits
    lengths = prompt_lengths(model, splits["train"])
    order = list(EpochSampler(len(lengths), lengths, batch_size, multiple=1, seed=42))
    batches = [order[start : start + batch_size] for start in range(0, len(order) - batch_size + 1, batch_size)]
    batches.sort(key=lambda batch: -sum(lengths[row] for row in batch))
    count = min(rows // batch_size, len(batches))
    chosen = [batches[int((number + 0.5) * len(batches) / count)] for number in range(count)]
    folder.mkdir(parents=True, exist_ok=True)
    splits["train"] = splits["train"].select([row for batch in chosen for row in batch])
    for split in ("validation", "test", "train"):
        splits[split].to_parquet(folder / f"{split}.parquet")
    return folder


def training_flags(args: argparse.Namespace, batch_size: int = 8) -> list[object]:
    """The flags of every side of a comparison of training: the model, its rows, the batch size."""
    folder = model_folder(args.model)
    rows = rows_by_length(args.dataset, folder, args.rows, batch_size)
    return ["--model", folder, "--dataset", rows, "--rows", args.rows, "--batch_size", batch_size]


def side_parser(module: str) -> argparse.ArgumentParser:
    """The flags that every peer's side has."""
    made = argparse.ArgumentParser(prog=f"python -m benchmarks.{module}")
    made.add_argument("--model", type=Path, required=True, help="folder")
    made.add_argument("--dataset", required=True)
    made.add_argument("--rows", type=int, required=True)
    made.add_argument("--warmup_steps", type=int, default=2)
    made.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    made.add_argument("--batch_size", type=int, default=8)
    return made


def steps(args: argparse.Namespace) -> int:
    """As many steps as the rows make, and those that do not count."""
    return args.rows // args.batch_size + args.warmup_steps


def peer_settings(args: argparse.Namespace) -> dict[str, Any]:
    """What every peer's TrainingArguments say: as many steps as asked for, and no checkpoints, reports or bars."""
    import torch

    from .clock import output_dir

    return {
        "output_dir": output_dir(),
        "max_steps": steps(args),
        "per_device_train_batch_size": args.batch_size,
        "bf16": args.precision == "bf16",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": not torch.accelerator.is_available(),
    }


def prompt_lengths(model: Path, rows: Any) -> list[int]:
    """Tokens of each prompt."""
    from transformers import AutoTokenizer

    prompts = [prompt_of(text) for text in rows["text"]]
    return [len(ids) for ids in AutoTokenizer.from_pretrained(model)(prompts).input_ids]
