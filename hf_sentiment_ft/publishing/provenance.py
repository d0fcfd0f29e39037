"""Where the model and the data come from, as far as they state it themselves; nothing is guessed."""

import logging
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import explain
from ..hub import hub_errors, refuse_if_it_fails, with_retries
from ..paths import resolve_package_path

if TYPE_CHECKING:
    from ..config.arguments import DataArguments, ModelArguments
    from ..data.splits import LabelledSplits
    from ..model.loading import ModelSource

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Provenance:
    """What the card says about the base model and the data. Hub ids are None for anything local: never a local path."""

    base_model_id: str | None
    base_model_text: str
    license: str | None
    dataset_id: str | None
    dataset_title: str
    dataset_name: str
    dataset_text: str
    dataset_config: str | None
    dataset_revision: str | None
    languages: list[str]
    benchmark_task: str | None = None
    is_adapter: bool = False


def find_provenance(
    model_args: "ModelArguments", base: "ModelSource", data_args: "DataArguments", published: str | None = None
) -> Provenance:
    """Collect where the model and the data come from.

    The license is that of the base model: from the metadata of a GGUF file, from the card in a folder, or from the card
    on the Hub. If the model is trained further, from a folder or in its own repository, its base model is the one that
    its card names.

    Args:
        model_args: Model arguments, with the base model as the user named it.
        base: Where to load the base model from.
        data_args: Data arguments.
        published: Repository that the result is pushed to; None for no push.

    Raises:
        UsageError: If the cards cannot be read from the Hub.
    """
    with refuse_if_it_fails("the model card's information about model and data could not be read from the Hub"):
        return _find_provenance(model_args, base, data_args, published)


def _find_provenance(
    model_args: "ModelArguments", base: "ModelSource", data_args: "DataArguments", published: str | None
) -> Provenance:
    base_id, dataset_id = None, None
    if not Path(base.path).is_dir():
        base_id = base.path
    base_card = {} if "gguf_file" in base.options else _card_metadata(base_id, Path(base.path), "model")
    name = data_args.dataset_name or Path(str(data_args.train_file)).name
    if data_args.dataset_name and not name.startswith("package:") and not Path(name).is_dir():
        dataset_id = name
    dataset_card = _card_metadata(dataset_id, Path(resolve_package_path(name)), "dataset")
    languages = [data_args.language] if data_args.language else _as_list(dataset_card.get("language"))
    title = dataset_id or Path(name).name
    revision = _dataset_revision(dataset_id, data_args.dataset_revision) if dataset_id else None
    config = data_args.dataset_config_name
    return Provenance(
        base_model_id=base_id if base_id and base_id != published else _base_of(base_card),
        base_model_text=_base_model_text(model_args, base_id),
        license=_base_license(base, base_card),
        dataset_id=dataset_id,
        dataset_title=title,
        dataset_name=str(dataset_card.get("pretty_name") or title),
        dataset_text=f"[{dataset_id}](https://huggingface.co/datasets/{dataset_id})" if dataset_id else f"`{title}`",
        dataset_config=config,
        dataset_revision=revision,
        languages=languages,
        is_adapter=model_args.publish_adapter,
        benchmark_task=_benchmark_task(dataset_id, revision, config) if dataset_id else None,
    )


def _base_model_text(model_args: "ModelArguments", base_id: str | None) -> str:
    if base_id:
        return f"[{base_id}](https://huggingface.co/{base_id})"
    name = model_args.model_name_or_path
    if not name.startswith("package:"):
        return f"the model `{Path(name).name}`"
    package, _, file = name.removeprefix("package:").partition("/")
    try:
        return f"`{Path(file).name}` of the Python package {package} {version(package)}"
    except PackageNotFoundError:
        return f"`{Path(file).name}` of the Python package {package}"


def _base_license(base: "ModelSource", card: dict[str, Any]) -> str | None:
    if "gguf_file" in base.options:
        from gguf import GGUFReader

        field = GGUFReader(Path(base.path) / base.options["gguf_file"]).fields.get("general.license")
        return str(field.contents()) if field else None
    return str(card["license"]) if card.get("license") else None


def _base_of(card: dict[str, Any]) -> str | None:
    """Return the base model that a card names, if it is on the Hub.

    A card that names several base models belongs to a merged model, so None is returned for it.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    named = _as_list(card.get("base_model"))
    try:
        validate_repo_id(named[0] if len(named) == 1 else "")
    except HFValidationError:
        return None
    return str(named[0])


def _card_metadata(repo_id: str | None, folder: Path, repo_type: str) -> dict[str, Any]:
    """Return the metadata of a repository's card, empty if there is no card."""
    from huggingface_hub import RepoCard, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    if repo_id is not None:
        try:
            readme = Path(with_retries(lambda: hf_hub_download(repo_id, "README.md", repo_type=repo_type)))
        except (EntryNotFoundError, LocalEntryNotFoundError):
            return {}
    else:
        readme = folder / "README.md"
        if not readme.is_file():
            return {}
    return RepoCard.load(readme, repo_type=repo_type, ignore_metadata_errors=True).data.to_dict()


def _dataset_revision(dataset_id: str, revision: str) -> str | None:
    """Return the commit that a dataset's branch or tag points to; None in offline mode."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import OfflineModeIsEnabled

    try:
        return with_retries(lambda: HfApi().dataset_info(dataset_id, revision=revision)).sha
    except OfflineModeIsEnabled:
        return None


def _benchmark_task(dataset_id: str, revision: str | None, config: str | None) -> str | None:
    """Return the task that a dataset's `eval.yaml` names.

    None is returned unless there is exactly one task and it uses the same test split and configuration as this run.
    """
    import yaml
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    try:
        path = with_retries(lambda: hf_hub_download(dataset_id, "eval.yaml", repo_type="dataset", revision=revision))
        tasks = (yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}).get("tasks") or []
    except EntryNotFoundError:  # missing, or not cached on an offline machine
        return None
    except (*hub_errors(), yaml.YAMLError, AttributeError) as error:  # type: ignore[misc]
        logger.warning("Cannot read the eval.yaml of %s: %s. No benchmark result is saved.", dataset_id, explain(error))
        return None
    if len(tasks) != 1 or tasks[0].get("split", "test") != "test" or tasks[0].get("config", config) != config:
        return None
    return str(tasks[0]["id"]) if "id" in tasks[0] else None


def _as_list(value: Any) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)


def save_benchmark_result(
    provenance: "Provenance", data: "LabelledSplits", results: dict[str, Any], folder: Path
) -> None:
    """Save the test accuracy as a benchmark result, if the dataset is a benchmark and its whole test split was used.

    Args:
        provenance: Where the data comes from, and the benchmark's task.
        data: Labelled rows.
        results: All metrics, with the keys of `all_results.json`.
        folder: Output folder; the result is saved in its subfolder `.eval_results`.
    """
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml
    from yaml import safe_dump

    if provenance.dataset_id is None or provenance.benchmark_task is None or not _is_whole_test_split(data):
        return
    entry = EvalResultEntry(
        dataset_id=provenance.dataset_id,
        task_id=provenance.benchmark_task,
        value=results["test_accuracy"],
        dataset_revision=provenance.dataset_revision,
        notes="accuracy over the label words",
    )
    path = folder / ".eval_results" / f"{provenance.dataset_id.split('/')[-1]}.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(safe_dump(eval_result_entries_to_yaml([entry]), sort_keys=False), encoding="utf-8")


def _is_whole_test_split(data: "LabelledSplits") -> bool:
    """Return whether the test rows are the dataset's own test split, and all of it."""
    test = data.splits.get("test")
    if test is None or "test" in data.split_off or data.sources.get("test", "test") != "test" or not test.info.splits:
        return False
    return "test" in test.info.splits and test.info.splits["test"].num_examples == len(test)
