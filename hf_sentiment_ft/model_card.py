"""Results → model card. The words live in `model_card_template.md`; this is the data for it."""

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .paths import resources
from .provenance import Provenance

if TYPE_CHECKING:
    from datasets import Dataset

    from .config import ModelArguments
    from .data import LabelledSplits
    from .trainer import LabelWordTrainer

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
PACKAGES = ("hf_sentiment_ft", "transformers", "torch", "accelerate", "datasets", "evaluate", "tokenizers")


def hardware() -> str:
    """The devices of this process, in words."""
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} × {torch.cuda.get_device_name(0)}"
    return f"{os.cpu_count()} CPU cores ({platform.machine()}, {torch.backends.cpu.get_cpu_capability()})"


def duration(seconds: float) -> str:
    """Seconds in words, such as `2 min 5 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s") if hours or minutes else f"{rest} s"


def split_figures(results: dict[str, Any], prefix: str, rows: int) -> dict[str, Any]:
    """The figures of one evaluation without their prefix, and its number of rows."""
    figures = {key.removeprefix(prefix): value for key, value in results.items() if key.startswith(prefix)}
    return figures | {"rows": rows} if figures else {}


def write_model_card(
    trainer: "LabelWordTrainer",
    *,
    model_name: str,
    repo_id: str | None,
    provenance: Provenance,
    results: dict[str, Any],
    data: "LabelledSplits",
    tokenized: "dict[str, Dataset]",
    context_length: int,
    model_args: "ModelArguments",
) -> None:
    """Write the card of a finished run as `README.md` into its output folder.

    Args:
        trainer: What trained.
        model_name: Title, such as `gpt2-rotten-tomatoes`.
        repo_id: Where it will be published; without it the card loads the model by its name.
        provenance: Where model and data come from.
        results: All figures, keyed as in `all_results.json`; every number in the card is one of these.
        data: The rows.
        tokenized: The rows as the model has read them.
        context_length: Tokens that the model can read.
        model_args: Prompt, label words and precision.
    """
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

    args, verbalizer = trainer.args, trainer.verbalizer
    rows = {split: len(dataset) for split, dataset in data.splits.items()}
    test = split_figures(results, "test_", rows.get("test", 0))
    validation = split_figures(results, "eval_", rows["validation"])
    reported, split = (test, "test") if test else (validation, "validation")
    reported_metrics = {"accuracy": "Accuracy", "f1_macro": "Macro F1", "generation_accuracy": "Generation accuracy"}
    eval_results = [
        EvalResult(
            task_type="text-classification",
            dataset_type=provenance.dataset_id or provenance.dataset_name,
            dataset_name=provenance.dataset_name,
            dataset_config=provenance.dataset_config,
            dataset_split=split,
            dataset_revision=provenance.dataset_revision,
            metric_type="f1" if name == "f1_macro" else "accuracy",
            metric_name=title,
            metric_value=reported[name],
        )
        for name, title in reported_metrics.items()
    ]
    card_data = ModelCardData(
        language=provenance.languages or None,
        license=provenance.license,
        library_name="transformers",
        pipeline_tag="text-generation",
        base_model=provenance.base_model_id,
        base_model_relation="finetune" if provenance.base_model_id else None,
        datasets=[provenance.dataset_id] if provenance.dataset_id else None,
        metrics=["accuracy", "f1"],
        tags=["text-classification", "sentiment-analysis", "label-words", "hf_sentiment_ft", "generated_from_trainer"],
        widget=[{"text": "a moving, funny film"}],
        model_name=model_name,
        eval_results=eval_results,
    )
    template = model_args.prompt_template
    card = ModelCard.from_template(
        card_data,
        template_path=str(resources() / "model_card_template.md"),
        model_name=model_name,
        load_name=repo_id or model_name,
        base_model_text=provenance.base_model_text,
        dataset_text=provenance.dataset_text,
        dataset_text_capital=provenance.dataset_text[0].upper() + provenance.dataset_text[1:],
        dataset_revision=provenance.dataset_revision,
        words=verbalizer.words,
        label_rows=[
            {"label": label, "word": word, "tokens": len(ids)}
            for label, word, ids in zip(verbalizer.labels, verbalizer.words, verbalizer.token_ids, strict=True)
        ],
        prompt_literal=template.removesuffix("{label_word}").replace("\n", "\\n"),
        max_prompt_tokens=context_length - verbalizer.max_tokens,
        test=test,
        validation=validation,
        zero_shot=split_figures(results, "zero_shot_test_", rows.get("test", 0)),
        majority_accuracy=results.get("majority_test_accuracy"),
        class_rows=[{"label": label, **figures} for label, figures in reported["per_class"].items()],
        confusion_matrix=reported["confusion_matrix"],
        split_rows=[
            {"split": name, "rows": rows[name], "truncated": sum(tokenized[name]["truncated"][:])} for name in rows
        ],
        train_rows=rows["train"],
        data_notes=data.notes,
        truncation_side=model_args.truncation_side,
        max_seq_length=model_args.max_seq_length,
        best_checkpoint_metric=args.metric_for_best_model if args.load_best_model_at_end else None,
        hyperparameters=[(name, _plain(getattr(args, name))) for name in HYPERPARAMETERS]
        + [("precision", trainer.precision), ("weights", model_args.dtype)],
        training_time=duration(results["train_runtime"]),
        hardware=hardware(),
        versions={name: version(name) for name in PACKAGES},
        languages=provenance.languages,
        license=provenance.license,
    )
    card.save(Path(args.output_dir, "README.md"))


def _plain(value: Any) -> Any:
    """The value of an enumeration, other values as they are."""
    return getattr(value, "value", value)
