"""Results → model card. The text is in `model_card_template.md`; this module provides the values for it."""

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.splits import reported_split
from ..errors import UsageError
from ..hub import explain, hub_errors, with_retries
from ..paths import resources
from ..runtime.distributed import from_first_process
from ..training.plan import duration
from .provenance import Provenance, find_provenance
from .repository import CARD_TAG, Destination

if TYPE_CHECKING:
    from datasets import Dataset
    from huggingface_hub import ModelCard, ModelCardData

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


def hardware() -> str:
    """Describe the devices of this process."""
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} × {torch.cuda.get_device_name(0)}"
    return f"{os.cpu_count()} CPU cores ({platform.machine()}, {torch.backends.cpu.get_cpu_capability()})"


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


def card_metadata(
    provenance: Provenance, reported: dict[str, Any], split: str, data_note: str | None
) -> dict[str, Any]:
    """Build the card's front matter as arguments of `ModelCardData`.

    Args:
        provenance: Where the model and the data come from.
        reported: Metrics of the split that the card reports.
        split: Name of that split.
        data_note: How the split was made, if it is not one of the dataset's own splits; otherwise None.
    """
    return {
        "language": provenance.languages or None,
        "license": provenance.license,
        "library_name": "peft" if provenance.is_adapter else "transformers",
        "pipeline_tag": "text-generation",
        "base_model": provenance.base_model_id,
        "base_model_relation": ("adapter" if provenance.is_adapter else "finetune")
        if provenance.base_model_id
        else None,
        "datasets": [provenance.dataset_id] if provenance.dataset_id else None,
        "metrics": ["accuracy", "f1"],
        "tags": ["text-classification", "sentiment-analysis", "label-words", CARD_TAG, "generated_from_trainer"],
        "widget": [{"text": "a moving, funny film"}],
        "eval_results": [
            {
                "task_type": "text-classification",
                "dataset_type": provenance.dataset_id or provenance.dataset_title,
                "dataset_name": provenance.dataset_name,
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


def prepare_card(
    flags: "Arguments", base: "ModelSource", model_name: str, destination: "Destination | None"
) -> Provenance:
    """Collect on the first process what the card says about model and data, check it, and share it with the others.

    If the run will be published, the Hub checks the card's metadata.

    Args:
        flags: Command-line arguments, for the model and the data.
        base: Where to load the model from.
        model_name: Title of the card.
        destination: Where the first process will push to; None for no push.

    Raises:
        UsageError: If the Hub does not provide this information, or rejects the metadata.
    """

    def prepare() -> Provenance:
        published = destination.repo_id if destination else None
        provenance = find_provenance(flags.model, base, flags.data, published)
        check_metadata(provenance, model_name, destination)
        return provenance

    return from_first_process(flags.training, "reading the cards of model and data", prepare)


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
    try:
        with_retries(ModelCard(f"---\n{card_data(metadata, model_name)}\n---\n").validate, destination.timeout)
    except hub_errors() as error:
        raise UsageError(
            f"the Hub would reject the model card: {explain(error)}. Its license, language, base model and dataset are "
            "taken from the cards of the base model and the dataset. Use --language to set the language."
        ) from error


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
    rows = {split: results.get(f"{split}_streamed_rows", len(dataset)) for split, dataset in data.splits.items()}
    cut = {name: results.get(f"{name}_streamed_truncated", sum(tokenized[name]["truncated"][:])) for name in rows}
    test = split_figures(results, "test_", rows.get("test", 0))
    validation = split_figures(results, "eval_", rows["validation"])
    split, _ = reported_split(data.splits)
    reported = {"test": test, "validation": validation}[split]
    synonyms = verbalizer.synonyms or [[]] * len(verbalizer.labels)
    words = zip(verbalizer.labels, verbalizer.words, map(len, verbalizer.token_ids), synonyms, strict=True)
    return {
        "metadata": card_metadata(provenance, reported, data.sources.get(split, split), data.split_off.get(split)),
        "model_name": model_name,
        "base_model_text": provenance.base_model_text,
        "is_adapter": provenance.is_adapter,
        "pad_token": trainer.processing_class.pad_token,
        "dataset_text": provenance.dataset_text,
        "dataset_revision": provenance.dataset_revision,
        "words": verbalizer.words,
        "label_rows": [dict(zip(("label", "word", "tokens", "synonyms"), row, strict=True)) for row in words],
        "constrained": trainer.constrained,
        "prompt_literal": model_args.prompt_template.removesuffix("{label_word}").replace("\n", "\\n"),
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
        "data_notes": data.notes,
        "truncation_side": model_args.truncation_side,
        "max_seq_length": task.max_train_length,
        "best_checkpoint_metric": args.metric_for_best_model if args.load_best_model_at_end else None,
        "hyperparameters": {name: _plain(getattr(args, name)) for name in HYPERPARAMETERS}
        | {"precision": trainer.precision, "weights": model_args.dtype}
        | (
            {name: getattr(model_args, name) for name in vars(model_args) if name.startswith(("lora_", "load_in"))}
            if model_args.use_peft
            else {}
        ),
        "training_time": duration(results["train_runtime"]),
        "hardware": hardware(),
        "versions": {name: version(name) for name in PACKAGES},
        "languages": provenance.languages,
        "license": provenance.license,
    }


def render_card(values: dict[str, Any], load_name: str, kept: str = "") -> "ModelCard":
    """Fill the template of the model card.

    Args:
        values: Return value of `card_values`, or as much of it as a test needs.
        load_name: Name that a user passes to `pipeline`: the Hub id, or the model's name if it is not published.
        kept: Text that a person wrote below the marked line of the card that this one replaces.
    """
    from huggingface_hub import ModelCard

    card = ModelCard.from_template(
        card_data(values["metadata"], values["model_name"]),
        template_path=str(resources() / "model_card_template.md"),
        load_name=load_name,
        marked_line=MARKED_LINE,
        **values,
    )
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
