"""Results → model card. The text is in `model_card_template.md`; this module provides the values for it."""

import json
import os
import platform
import re
import unicodedata
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from ..data.sampling import StreamedRows
from ..errors import explain
from ..hub import refuse_if_it_fails, with_retries
from ..label_words.verbalizer import READABLE_LABELS
from ..paths import resources
from ..runtime.distributed import from_first_process
from ..training.checkpoints import RecoverBestCheckpoint
from ..training.plan import duration
from .examples import short_examples
from .markdown import environment, visible
from .provenance import Provenance, find_provenance
from .repository import CARD_TAG, Destination

if TYPE_CHECKING:
    from datasets import Dataset
    from huggingface_hub import ModelCard, ModelCardData
    from transformers import TrainingArguments

    from ..config.arguments import Arguments
    from ..label_words.task import LabelWordTask
    from ..model.loading import ModelSource
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
REPORTED = {"accuracy": "Accuracy", "generation_accuracy": "Generation accuracy", "f1_macro": "Macro F1"}
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


def is_sentiment(names: Sequence[str]) -> bool:
    """Return whether labels or label words say negative and positive, in English or in a language close to it."""
    ascii_names = [unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode() for name in names]
    known = [READABLE_LABELS.get(name, name) for name in (name.strip().lower() for name in ascii_names)]
    return all(any(re.match(sign, name) for name in known) for sign in ("negati[vf]", "positi[vf]"))


def card_metadata(
    provenance: Provenance,
    reported: dict[str, Any],
    split: str,
    data_note: str | None,
    names: Sequence[str] = (),
    examples: Sequence[dict[str, str]] = (),
) -> dict[str, Any]:
    """Build the card's front matter as arguments of `ModelCardData`.

    Args:
        provenance: Where the model and the data come from.
        reported: Metrics of the split that the card reports.
        split: Name of that split.
        data_note: How the split was made, if it is not one of the dataset's own splits; otherwise None.
        names: Labels and label words.
        examples: Return value of `short_examples`, which the model's page shows.
    """
    sentiment = ["sentiment-analysis"] if is_sentiment(names) else []
    return {
        "language": provenance.languages or None,
        "license": provenance.license,
        "license_name": provenance.license_name,
        "license_link": provenance.license_link,
        "library_name": "peft" if provenance.is_adapter else "transformers",
        "pipeline_tag": "text-generation",
        "base_model": provenance.base_model_id,
        "base_model_relation": ("adapter" if provenance.is_adapter else "finetune")
        if provenance.base_model_id
        else None,
        "datasets": [provenance.dataset_id] if provenance.dataset_id else None,
        "metrics": ["accuracy", "f1"],
        "tags": ["text-classification", *sentiment, "label-words", CARD_TAG, "generated_from_trainer"],
        "widget": [{"text": example["text"], "output": {"text": example["output"]}} for example in examples] or None,
        "eval_results": [
            {
                "task_type": "text-classification",
                "dataset_type": provenance.dataset_id
                or visible(provenance.other_files.get(split, provenance.dataset_title)),
                "dataset_name": visible(provenance.dataset_name),
                "dataset_config": provenance.dataset_config,
                "dataset_split": f"{split} (taken from train)" if data_note else split,
                "dataset_revision": provenance.dataset_revision,
                "metric_type": "f1" if name == "f1_macro" else "accuracy",
                "metric_name": title,
                "metric_value": reported[name],
            }
            for name, title in REPORTED.items()
        ],
    }


def trace_provenance(
    flags: "Arguments", base: "ModelSource", model_name: str, destination: "Destination | None"
) -> Provenance:
    """Find out on the first process where model and data come from, and share it with the others.

    If the run will be published, the Hub also checks the front matter that a card gets from it.

    Args:
        flags: Command-line arguments, for the model and the data.
        base: Where to load the model from.
        model_name: Title of the card.
        destination: Where the first process will push to; None for no push.

    Raises:
        UsageError: If the Hub does not provide this information, or rejects the metadata.
    """

    def trace() -> Provenance:
        published = destination.repo_id if destination else None
        provenance = find_provenance(flags.model, base, flags.data, published)
        check_metadata(provenance, model_name, destination)
        return provenance

    return from_first_process(flags.training, "reading the cards of model and data", trace)


def check_metadata(provenance: Provenance, model_name: str, destination: "Destination | None") -> None:
    """Let the Hub check the card's front matter before training, with placeholders for the metrics.

    Args:
        provenance: Where the model and the data come from.
        model_name: Title of the card.
        destination: Where the run will be pushed to; None for no check.

    Raises:
        UsageError: If the Hub would reject the metadata.
    """
    if destination is None:
        return
    from huggingface_hub import ModelCard

    figures = dict.fromkeys(REPORTED, 0.0)
    metadata = card_metadata(provenance, figures, "test", None)
    source = (
        "Its license, language, base model and dataset are taken from the cards of the base model and the dataset. Use "
        "--language to set the language."
    )
    with refuse_if_it_fails(
        "the Hub would reject the model card", describe=lambda error: f"{explain(error)}. {source}"
    ):
        with_retries(ModelCard(f"---\n{card_data(metadata, model_name)}\n---\n").validate, destination.timeout)


def save_card(values: dict[str, Any], folder: Path) -> None:
    """Save the card of a finished run as `README.md`, and the values used in it as `card.json`.

    Args:
        values: Return value of `card_values`.
        folder: Output folder.
    """
    (folder / CARD_VALUES).write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    render_card(values, values["model_name"]).save(folder / "README.md")


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
    unused = "num_train_epochs" if args.max_steps > 0 else "max_steps"
    rows = {split: results.get(f"{split}_streamed_rows", len(dataset)) for split, dataset in data.splits.items()}
    cut = {name: results.get(f"{name}_streamed_truncated", sum(tokenized[name]["truncated"][:])) for name in rows}
    test = split_figures(results, "test_", rows.get("test", 0))
    validation = split_figures(results, "eval_", rows["validation"])
    reported, split = (test, "test") if test else (validation, "validation")
    examples = short_examples(Path(str(args.output_dir), f"{'test' if test else 'eval'}_predictions.csv"))
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
        ),
        "examples": examples,
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
        "prompt_literal": model_args.prompt_template.removesuffix("{label_word}"),
        "max_prompt_tokens": trainer.processing_class.model_max_length,
        "test": test,
        "validation": validation,
        "zero_shot": split_figures(results, "zero_shot_test_", rows.get("test", 0)),
        "majority_accuracy": results.get("majority_test_accuracy"),
        "class_rows": [{"label": label, **figures} for label, figures in reported["per_class"].items()],
        "confusion_matrix": reported["confusion_matrix"],
        "reported_split": split,
        "text_classification": Path(args.output_dir, "text-classification").is_dir(),
        "plots": sorted(path.stem for path in Path(args.output_dir, "plots").glob("*.png")),
        "split_rows": [{"split": name, "rows": rows[name], "truncated": cut[name]} for name in rows],
        "train_rows": rows["train"],
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
        step = int(Path(state.best_model_checkpoint).name.rpartition("-")[2])
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


def card_data(metadata: dict[str, Any], model_name: str) -> "ModelCardData":
    """Convert front matter to `ModelCardData`."""
    from huggingface_hub import EvalResult, ModelCardData

    results = [EvalResult(**result) for result in metadata["eval_results"]]
    return ModelCardData(model_name=model_name, **(metadata | {"eval_results": results}))


def minimal_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return the part of the front matter that the Hub always accepts, for a card whose metadata it rejects."""
    return {name: metadata[name] for name in ("library_name", "pipeline_tag", "tags")} | {"eval_results": []}


def below_the_line(card: str) -> str:
    """Return the text that a person wrote below the marked line of a card; empty if there is none."""
    return card.partition(MARKED_LINE)[2].lstrip("\n")


def _plain(value: Any) -> Any:
    """Return the value of an enumeration member, and any other value unchanged."""
    return getattr(value, "value", value)
