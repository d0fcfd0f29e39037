"""Where the model and the data come from, as far as they state it themselves; nothing is guessed."""

import logging
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import explain
from ..hub import hub_errors, parse_mapping, read_front_matter, refuse_if_it_fails, with_retries
from ..paths import resolve_package_path
from .markdown import code, escape, link

if TYPE_CHECKING:
    from ..config.arguments import DataArguments, ModelArguments
    from ..data.splits import LabelledSplits
    from ..model.loading import ModelSource

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Provenance:
    """What the card says about the base model and the data. Hub ids are None for anything local: never a local path.

    What ends in `_text` is Markdown, the rest is plain. `other_files` has the names of validation and test files.
    """

    base_model_id: str | None
    base_model_text: str
    license: str | list[str] | None
    license_name: str | None
    license_link: str | None
    license_text: str | None
    dataset_id: str | None
    dataset_title: str
    dataset_name: str
    dataset_text: str
    dataset_config: str | None
    dataset_revision: str | None
    languages: list[str]
    other_files: dict[str, str]
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
    base_card = _gguf_metadata(base) if "gguf_file" in base.options else _metadata(base_id, Path(base.path), "model")
    name = data_args.dataset_name or Path(str(data_args.train_file)).name
    if data_args.dataset_name and not name.startswith("package:") and not Path(name).is_dir():
        dataset_id = name
    dataset_card = _metadata(dataset_id, Path(resolve_package_path(name)), "dataset")
    languages = [data_args.language] if data_args.language else _texts(dataset_card.get("language"))
    title = dataset_id or _file_name(name)
    licenses, license_name = _texts(base_card.get("license")), _text(base_card.get("license_name"))
    license_link = _license_link(_text(base_card.get("license_link")), base_id)
    others = {"validation": data_args.validation_file, "test": data_args.test_file}
    revision = _dataset_revision(dataset_id, data_args.dataset_revision) if dataset_id else None
    config = data_args.dataset_config_name
    return Provenance(
        base_model_id=base_id if base_id and base_id != published else _base_of(base_card),
        base_model_text=_base_model_text(model_args, base_id),
        license=licenses[0] if len(licenses) == 1 else licenses or None,
        license_name=license_name,
        license_link=license_link,
        license_text=_license_text(licenses, license_name, license_link),
        dataset_id=dataset_id,
        dataset_title=title,
        dataset_name=_text(dataset_card.get("pretty_name")) or title,
        dataset_text=link(dataset_id, f"https://huggingface.co/datasets/{dataset_id}") if dataset_id else code(title),
        other_files={split: _file_name(file) for split, file in others.items() if file},
        dataset_config=config,
        dataset_revision=revision,
        languages=languages,
        is_adapter=model_args.publish_adapter,
        benchmark_task=_benchmark_task(dataset_id, revision, config) if dataset_id else None,
    )


def _base_model_text(model_args: "ModelArguments", base_id: str | None) -> str:
    if base_id:
        return link(base_id, f"https://huggingface.co/{base_id}")
    name = model_args.model_name_or_path
    if not name.startswith("package:"):
        return f"the model {code(_file_name(name))}"
    package, _, file = name.removeprefix("package:").partition("/")
    try:
        return f"{code(_file_name(file))} of the Python package {escape(package)} {version(package)}"
    except PackageNotFoundError:
        return f"{code(_file_name(file))} of the Python package {escape(package)}"


def _file_name(path: str) -> str:
    """Return the name of a file or folder without the folders above it, as text that can be saved."""
    return Path(path).name.encode(errors="replace").decode() or "a local folder"


def _gguf_metadata(base: "ModelSource") -> dict[str, Any]:
    """Return what a GGUF file says about its license, by the names that a model card has for it."""
    from gguf import GGUFReader

    fields = GGUFReader(Path(base.path) / base.options["gguf_file"]).fields
    names = {"license": "license", "license_name": "license.name", "license_link": "license.link"}
    found = {name: fields.get(f"general.{key}") for name, key in names.items()}
    return {name: str(field.contents()) for name, field in found.items() if field}


def _license_link(named: str | None, base_id: str | None) -> str | None:
    """Return the address of a license, which the base model's card may give as a file of its own repository."""
    from urllib.parse import quote

    if named is None or named.startswith(("https://", "http://")):
        return named
    if base_id is None or ":" in named:
        return None
    return f"https://huggingface.co/{base_id}/blob/main/{quote(named.removeprefix('./'))}"


def _license_text(licenses: list[str], name: str | None, address: str | None) -> str | None:
    if not licenses:
        return None
    title = name if name and licenses == ["other"] else ", ".join(licenses) + (f" ({name})" if name else "")
    return link(title, address) if address else escape(title)


def _base_of(card: dict[str, Any]) -> str | None:
    """Return the base model that a card names, if it is on the Hub.

    A card that names several base models belongs to a merged model, so None is returned for it.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    named = _texts(card.get("base_model"))
    try:
        validate_repo_id(named[0] if len(named) == 1 else "")
    except HFValidationError:
        return None
    return named[0]


def _metadata(repo_id: str | None, folder: Path, repo_type: str) -> dict[str, Any]:
    """Return the metadata of a repository's card, empty if there is no card or it cannot be read."""
    from huggingface_hub import hf_hub_download
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
    return read_front_matter(readme)


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
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    try:
        path = with_retries(lambda: hf_hub_download(dataset_id, "eval.yaml", repo_type="dataset", revision=revision))
        tasks = parse_mapping(Path(path).read_text(encoding="utf-8")).get("tasks")
    except EntryNotFoundError:  # missing, or not cached on an offline machine
        return None
    except hub_errors() as error:
        logger.warning("Cannot read the eval.yaml of %s: %s. No benchmark result is saved.", dataset_id, explain(error))
        return None
    match tasks:
        case [{"id": str(task_id), **more}] if more.get("split", "test") == "test":
            return task_id if "config" not in more or _text(more["config"]) == config else None
    return None


def _texts(value: Any) -> list[str]:
    """Return the texts of a list, or of a single value; null and anything else that stands there is left out."""
    values = value if isinstance(value, list) else [value]
    return [one.strip() for one in values if isinstance(one, str) and one.strip().lower() not in ("", "~", "null")]


def _text(value: Any) -> str | None:
    return next(iter(_texts(value)), None)


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
