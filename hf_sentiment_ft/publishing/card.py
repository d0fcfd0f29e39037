"""Results → model card. The words live in `model_card_template.md`; this is the data for it."""

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    """The devices of this process, in words."""
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} × {torch.cuda.get_device_name(0)}"
    return f"{os.cpu_count()} CPU cores ({platform.machine()}, {torch.backends.cpu.get_cpu_capability()})"


def split_figures(results: dict[str, Any], prefix: str, rows: int) -> dict[str, Any]:
    """The figures of one evaluation without their prefix, and its number of rows."""
    figures = {key.removeprefix(prefix): value for key, value in results.items() if key.startswith(prefix)}
    return figures | {"rows": rows} if figures else {}


def card_metadata(
    provenance: Provenance, reported: dict[str, Any], split: str, data_note: str | None
) -> dict[str, Any]:
    """The card's front matter, in the form of the arguments of `ModelCardData`.

    Args:
        provenance: Where model and data come from.
        reported: Figures of the split that the card reports.
        split: Its name.
        data_note: How the split came about, if it is not the data set's own.
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
    """Find out on the first process what the card says of model and data, and whether the Hub takes it; tell all.

    Args:
        flags: Model and data as they were named.
        base: Where the model is.
        model_name: Title of the card.
        destination: Where the first process will push; None for no push.

    Raises:
        UsageError: If the Hub does not say it, or refuses the metadata.
    """

    def prepare() -> Provenance:
        published = destination.repo_id if destination else None
        provenance = find_provenance(flags.model, base, flags.data, published)
        check_metadata(provenance, model_name, destination)
        return provenance

    return from_first_process(flags.training, "reading the cards of model and data", prepare)


def check_metadata(provenance: Provenance, model_name: str, destination: "Destination | None") -> None:
    """Have the Hub check the card's front matter before training; its figures are placeholders until then.

    Raises:
        UsageError: If the Hub will refuse it.
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
            f"the Hub would refuse the model card: {explain(error)}. What it says of licence, language, base model and "
            "data set comes from theirs; --language sets the language."
        ) from error


def save_card(values: dict[str, Any], folder: Path) -> None:
    """Write the card of a finished run as `README.md`, and the values that it is made of as `card.json`."""
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
    """Collect what the card of a finished run says, as plain values that `card.json` can keep.

    Args:
        trainer: What trained.
        model_name: Title, such as `gpt2-rotten-tomatoes`.
        provenance: Where model and data come from.
        results: All figures, keyed as in `all_results.json`; every number in the card is one of these.
        task: Prompt, label words and rows.
        tokenized: The rows as the model has read them.
    """
    args, data, model_args, verbalizer = trainer.args, task.data, task.args, task.verbalizer
    rows = {split: results.get(f"{split}_streamed_rows", len(dataset)) for split, dataset in data.splits.items()}
    cut = {name: results.get(f"{name}_streamed_truncated", sum(tokenized[name]["truncated"][:])) for name in rows}
    test = split_figures(results, "test_", rows.get("test", 0))
    validation = split_figures(results, "eval_", rows["validation"])
    reported, split = (test, "test") if test else (validation, "validation")
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
    """Put values into the template.

    Args:
        values: What `card_values` returned, or the part of it that a test wants.
        load_name: What a user passes to `pipeline`: the Hub id, or the model's name where it is not published.
        kept: What a person wrote below the marked line of the card that this one replaces.
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
    """Front matter as huggingface_hub's own class."""
    from huggingface_hub import EvalResult, ModelCardData

    results = [EvalResult(**result) for result in metadata["eval_results"]]
    return ModelCardData(model_name=model_name, **(metadata | {"eval_results": results}))


def minimal_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    """The part of the front matter that no rule of the Hub can object to, for a card whose metadata it refuses."""
    return {name: metadata[name] for name in ("library_name", "pipeline_tag", "tags")} | {"eval_results": []}


def below_the_line(card: str) -> str:
    """What a person wrote below the marked line of a card, empty if there is none."""
    return card.partition(MARKED_LINE)[2].lstrip("\n")


def _plain(value: Any) -> Any:
    """The value of an enumeration, other values as they are."""
    return getattr(value, "value", value)
