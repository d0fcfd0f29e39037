"""The front matter of the card, from which the Hub's search and the model's page take what they show."""

import logging
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any

from ..errors import UsageError, explain
from ..hub import refuse_if_it_fails, with_retries
from ..label_words.verbalizer import READABLE_LABELS
from ..runtime.distributed import from_first_process
from .markdown import visible
from .provenance import Provenance, find_provenance
from .repository import CARD_TAG, Destination

if TYPE_CHECKING:
    from huggingface_hub import ModelCardData

    from ..config.arguments import Arguments
    from ..model.loading import ModelSource

logger = logging.getLogger(__name__)

REPORTED = {"accuracy": "Accuracy", "generation_accuracy": "Generation accuracy", "f1_macro": "Macro F1"}


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
    decides: bool = False,
) -> dict[str, Any]:
    """Build the card's front matter as arguments of `ModelCardData`.

    Args:
        provenance: Where the model and the data come from.
        reported: Metrics of the split that the card reports.
        split: Name of that split.
        data_note: How the split was made, if it is not one of the dataset's own splits; otherwise None.
        names: Labels and label words.
        examples: Return value of `short_examples`, which the model's page shows.
        decides: Whether the model is a decision model.
    """
    decision = ["decision-model"] if decides else []
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
        "tags": ["text-classification", *sentiment, *decision, "label-words", CARD_TAG, "generated_from_trainer"],
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
        if destination is None:
            return provenance
        return make_metadata_acceptable(
            provenance, model_name, destination, keep_language=flags.data.language is not None
        )

    return from_first_process(flags.training, "reading the cards of model and data", trace)


def make_metadata_acceptable(
    provenance: Provenance, model_name: str, destination: "Destination", keep_language: bool
) -> Provenance:
    """Let the Hub check the card's front matter before training, with placeholders for the metrics.

    Other people's cards may state a license or a language that the Hub does not know. Such a license is then given by
    name (`license: other`), and such a language is left out, with a warning.

    Args:
        provenance: Where the model and the data come from.
        model_name: Title of the card.
        destination: Where the run will be pushed to.
        keep_language: Whether the user has given the language, which is then not left out.

    Returns:
        The provenance, with a license and a language that the Hub accepts.

    Raises:
        UsageError: If the Hub rejects the metadata all the same, or cannot be asked.
    """
    stated = [provenance.license] if isinstance(provenance.license, str) else provenance.license or []
    named = provenance.license_name or ", ".join(stated)
    licenses: list[dict[str, Any]] = [{}]
    licenses += [{"license": "other", "license_name": named}, {"license": None}] if stated else []
    languages: list[dict[str, Any]] = [{}] if keep_language or not provenance.languages else [{}, {"languages": []}]
    objections: list[str] = []
    with refuse_if_it_fails("the Hub could not check the model card's metadata"):
        for language, license_ in product(languages, licenses):
            accepted = replace(provenance, **license_, **language)
            objection = _objection(accepted, model_name, destination)
            if objection is None:
                break
            objections.append(objection)
        else:
            raise UsageError(
                f"the Hub rejects the model card's metadata: {objections[0]}. License, language and base model are "
                "taken from the cards of the base model and the dataset. Use --language to set the language."
            )
    if objections:
        instead = ", ".join(f"{name} {value or 'none'}" for name, value in {**language, **license_}.items())
        logger.warning(
            "The Hub rejects what the cards of the base model and the dataset say: %s. The model card says: %s.",
            objections[0],
            instead,
        )
    return accepted


def _objection(provenance: Provenance, model_name: str, destination: "Destination") -> str | None:
    """Return why the Hub rejects a card with this provenance, None if it accepts the card."""
    from huggingface_hub import ModelCard

    metadata = card_metadata(provenance, dict.fromkeys(REPORTED, 0.0), "test", None)
    card = ModelCard(f"---\n{card_data(metadata, model_name)}\n---\n")
    try:
        with_retries(card.validate, destination.timeout)
    except ValueError as error:
        return explain(error)
    return None


def card_data(metadata: dict[str, Any], model_name: str) -> "ModelCardData":
    """Convert front matter to `ModelCardData`."""
    from huggingface_hub import EvalResult, ModelCardData

    results = [EvalResult(**result) for result in metadata["eval_results"]]
    return ModelCardData(model_name=model_name, **(metadata | {"eval_results": results}))


def minimal_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return the part of the front matter that the Hub always accepts, for a card whose metadata it rejects."""
    return {name: metadata[name] for name in ("library_name", "pipeline_tag", "tags")} | {"eval_results": []}
