"""Results → model card. The text is in `model_card_template.md`; this module provides the values for it."""

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from ..data.sampling import StreamedRows
from ..data.splits import reported_split
from ..label_words.decision import question_orders, refusal_of
from ..label_words.tokenization import description_cost
from ..paths import resources
from ..runtime.run_files import published_files
from ..training.checkpoints import RecoverBestCheckpoint
from ..training.plan import duration
from .examples import probabilities_of, short_examples
from .markdown import environment
from .metadata import card_data, card_metadata
from .provenance import Provenance
from .question_card import question_values

if TYPE_CHECKING:
    from datasets import Dataset
    from huggingface_hub import ModelCard
    from transformers import TrainingArguments

    from ..label_words.task import LabelWordTask
    from ..label_words.verbalizer import Verbalizer
    from ..training.trainer import LabelWordTrainer

HYPERPARAMETERS = (
    "learning_rate",
    "lr_scheduler_type",
    "warmup_steps",
    "num_train_epochs",
    "max_steps",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "world_size",
    "optim",
    "weight_decay",
    "max_grad_norm",
    "label_smoothing_factor",
    "gradient_checkpointing",
    "train_sampling_strategy",
    "seed",
)
CARD_VALUES = "card.json"
MARKED_LINE = "<!-- What you write below this line is kept when the model is published again. -->"
PACKAGES = ("hf_sentiment_ft", "transformers", "torch", "accelerate", "datasets", "evaluate", "tokenizers")


def hardware(args: "TrainingArguments") -> str:
    """Describe the devices that a run trains on."""
    import torch

    if args.device.type == "cpu":
        return f"{os.cpu_count()} CPU cores ({platform.machine()}, {torch.backends.cpu.get_cpu_capability()})"
    name = torch.cuda.get_device_name(args.device) if args.device.type == "cuda" else args.device.type
    return f"{args.world_size * max(1, args.n_gpu)} × {name}"


def split_figures(results: dict[str, Any], prefix: str, rows: int) -> dict[str, Any]:
    """Return the metrics of one evaluation without their prefix, together with its number of rows.

    Args:
        results: All metrics, with the keys of `all_results.json`.
        prefix: Prefix of the evaluation, such as `test_`.
        rows: Number of rows.

    Returns:
        The metrics; empty if there are none with this prefix.
    """
    figures = {key.removeprefix(prefix): value for key, value in results.items() if key.startswith(prefix)}
    return figures | {"rows": rows} if figures else {}


def save_card(values: dict[str, Any], folder: Path) -> None:
    """Save the card of a finished run as `README.md`, and the values used in it as `card.json`.

    Args:
        values: Return value of `card_values`.
        folder: Output folder.
    """
    (folder / CARD_VALUES).write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    render_card(values, values["model_name"]).save(folder / "README.md")


def add_to_card(folder: Path, more: dict[str, Any]) -> None:
    """Add values to the card of a finished run, and write it anew."""
    values = json.loads((folder / CARD_VALUES).read_text(encoding="utf-8"))
    save_card(values | more, folder)


def card_values(
    trainer: "LabelWordTrainer",
    model_name: str,
    provenance: Provenance,
    results: dict[str, Any],
    task: "LabelWordTask",
    tokenized: "dict[str, Dataset]",
) -> dict[str, Any]:
    """Collect the contents of a finished run's card, as plain values that can be saved in `card.json`.

    Args:
        trainer: Trainer that has trained the model.
        model_name: Title, such as `gpt2-rotten-tomatoes`.
        provenance: Where the model and the data come from.
        results: All metrics, with the keys of `all_results.json`; every metric in the card is one of these.
        task: Prompt, label words and rows.
        tokenized: Tokenized splits by name.
    """
    args, data, model_args, verbalizer = trainer.args, task.data, task.args, task.verbalizer
    files = published_files(Path(args.output_dir))
    unused = "num_train_epochs" if args.max_steps > 0 else "max_steps"
    rows = {split: results.get(f"{split}_streamed_rows", len(dataset)) for split, dataset in data.splits.items()}
    cut = {name: results.get(f"{name}_streamed_truncated", sum(tokenized[name]["truncated"][:])) for name in rows}
    test = split_figures(results, "test_", rows.get("test", 0))
    validation = split_figures(results, "eval_", rows["validation"])
    split, prefix = reported_split(data.splits)
    reported = {"test": test, "validation": validation}[split]
    predictions = Path(str(args.output_dir), f"{prefix}_predictions.csv")
    examples = short_examples(predictions)
    decision = decision_values(Path(str(args.output_dir)), verbalizer, examples, predictions)
    synonyms = verbalizer.synonyms or [[]] * len(verbalizer.labels)
    words = zip(verbalizer.labels, verbalizer.words, map(len, verbalizer.token_ids), synonyms, strict=True)
    return {
        "metadata": card_metadata(
            provenance,
            reported,
            data.sources.get(split, split),
            data.split_off.get(split),
            [*verbalizer.labels, *verbalizer.words],
            examples,
            decides=bool(decision and not decision["refusal"]),
        ),
        **question_values(Path(str(args.output_dir)), task, results, test, validation),
        "examples": examples,
        "decision": decision,
        "model_name": model_name,
        "base_model_text": provenance.base_model_text,
        "is_adapter": provenance.is_adapter,
        "pad_token": trainer.processing_class.pad_token,
        "dataset_text": provenance.dataset_text,
        "dataset_revision": provenance.dataset_revision,
        "other_files": provenance.other_files,
        "words": verbalizer.words,
        "label_rows": [dict(zip(("label", "word", "tokens", "synonyms"), row, strict=True)) for row in words],
        "constrained": trainer.constrained,
        "label_order": verbalizer.order,
        "prompt_literal": model_args.prompt_template.removesuffix("{label_word}"),
        "description_cost": description_cost(task),
        "max_prompt_tokens": trainer.processing_class.model_max_length,
        "test": test,
        "validation": validation,
        "zero_shot": split_figures(results, "zero_shot_test_", rows.get("test", 0)),
        "tfidf_accuracy": results.get("tfidf_test_accuracy"),
        "majority_accuracy": results.get("majority_test_accuracy"),
        "class_rows": [{"label": label, **figures} for label, figures in reported.get("per_class", {}).items()],
        "confusion_matrix": reported.get("confusion_matrix"),
        "reported_split": split,
        "text_classification": any(path.parent.name == "text-classification" for path in files),
        "plots": [path.stem for path in files if path.parent.name == "plots"],
        "split_rows": [{"split": name, "rows": rows[name], "truncated": cut[name]} for name in rows],
        "train_rows": min(rows["train"], getattr(trainer.train_dataset, "pass_length", None) or rows["train"]),
        **_what_training_did(trainer),
        "data_notes": data.notes,
        "truncation_side": model_args.truncation_side,
        "max_seq_length": task.max_train_length,
        "uses_lora": model_args.use_peft,
        "hyperparameters": {name: _plain(getattr(args, name)) for name in HYPERPARAMETERS if name != unused}
        | {"precision": trainer.precision, "weights": model_args.dtype}
        | (
            {name: getattr(model_args, name) for name in vars(model_args) if name.startswith(("lora_", "load_in"))}
            if model_args.use_peft
            else {}
        ),
        "training_time": duration(results["train_runtime"]),
        "hardware": hardware(args),
        "versions": {name: version(name) for name in (*PACKAGES, *(["peft"] if model_args.use_peft else []))},
        "languages": provenance.languages,
        "license": provenance.license,
        "license_text": provenance.license_text,
    }


def decision_values(
    folder: Path, verbalizer: "Verbalizer", examples: list[dict[str, str]], predictions: Path
) -> dict[str, Any] | None:
    """Collect what the card says about the decision model in a run's folder.

    Args:
        folder: Output folder.
        verbalizer: Label words.
        examples: Return value of `short_examples`.
        predictions: File of predictions that has the examples.

    Returns:
        None if there is no decision model, as in an adapter; otherwise a `refusal`, if it refuses all questions; its
        `labels`, and their `probabilities` for the first example; the label that is `true` in a question of type
        `noul`, and the `levels` of one of type `score`.
    """
    if not (folder / "decision.json").is_file():
        return None
    labels, orders = verbalizer.labels, question_orders(verbalizer)
    figures = probabilities_of(predictions, examples[0]["text"]) if examples and len(labels) <= 20 else []
    return {
        "refusal": refusal_of(folder),
        "labels": labels,
        "probabilities": {label: round(figure, 4) for label, figure in zip(labels, figures, strict=False)},
        "true": labels[orders["noul"][0]] if "noul" in orders else None,
        "levels": [labels[label] for label in orders.get("score", [])],
    }


def _what_training_did(trainer: "LabelWordTrainer") -> dict[str, Any]:
    """Return what the card says about the course of training, from the trainer's own record.

    Returns:
        `steps`, of the whole run; `resumed_from`, the step at which this process resumed it, otherwise 0; `rows_seen`,
        if training ended within its first pass over the rows, otherwise None; `logged`, the curves that have points;
        and `kept`, the checkpoint that was chosen: its `step`, the `metric`, out `of` how many, and whether it is the
        `best` of them. `kept` is None if the weights are those after the last step because there was no choice.
    """
    args, state = trainer.args, trainer.state
    metric = str(args.metric_for_best_model).removeprefix("eval_")
    evaluated = {entry["step"] for entry in state.log_history if f"eval_{metric}" in entry} - {0}
    kept = None
    if args.load_best_model_at_end and evaluated and state.best_model_checkpoint:
        # A checkpoint to resume from may have another name, such as last-checkpoint; its step is then the best one.
        number = Path(state.best_model_checkpoint).name.removeprefix("checkpoint-")
        step = int(number) if number.isdecimal() else state.best_global_step
        kept = {"step": step, "of": len(evaluated), "best": step == state.best_global_step}
        kept["metric"] = metric.replace("_", " ")
    if kept and kept["of"] == 1 and kept["step"] == state.global_step:
        kept = None
    in_first_pass = state.epoch is not None and state.epoch < 1 and not isinstance(trainer.train_dataset, StreamedRows)
    resumed = [call.step for call in trainer.callback_handler.callbacks if isinstance(call, RecoverBestCheckpoint)]
    return {
        "steps": state.global_step,
        "resumed_from": resumed[0] if resumed else 0,
        "rows_seen": state.global_step * trainer.get_total_train_batch_size(args) if in_first_pass else None,
        "logged": [name for name in ("loss", "eval_accuracy") if any(name in entry for entry in state.log_history)],
        "kept": kept,
    }


def render_card(values: dict[str, Any], load_name: str, kept: str = "") -> "ModelCard":
    """Fill the template of the model card.

    Args:
        values: Return value of `card_values`, or as much of it as a test needs.
        load_name: Name that a user passes to `pipeline`: the Hub id, or the model's name if it is not published.
        kept: Text that a person wrote below the marked line of the card that this one replaces.
    """
    from huggingface_hub import ModelCard

    template = environment().from_string((resources() / "model_card_template.md").read_text(encoding="utf-8"))
    # YAML by the Hub's own client, which quotes what YAML would read as something else.
    front_matter = Markup(card_data(values["metadata"], values["model_name"]).to_yaml())
    fixed = {"card_data": front_matter, "load_name": load_name, "marked_line": MARKED_LINE}
    card = ModelCard(template.render(values | fixed))
    card.content = card.content.rstrip("\n") + "\n" + (f"\n{kept}" if kept else "")
    return card


def below_the_line(card: str) -> str:
    """Return the text that a person wrote below the marked line of a card; empty if there is none."""
    return card.partition(MARKED_LINE)[2].lstrip("\n")


def _plain(value: Any) -> Any:
    """Return the value of an enumeration member, and any other value unchanged."""
    return getattr(value, "value", value)
