"""Where model and data come from, as far as they say so themselves; nothing is guessed."""

import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .paths import resolve_package_path

if TYPE_CHECKING:
    from .config import DataArguments, ModelArguments
    from .data import LabelledSplits
    from .modeling import BaseModel


@dataclass(frozen=True)
class Provenance:
    """What the card says of base model and data. Hub ids are None for what is not from the Hub: never a local path."""

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


def find_provenance(
    model_args: "ModelArguments", base: "BaseModel", data_args: "DataArguments", data: "LabelledSplits"
) -> Provenance:
    """Collect what is known of where model and data come from.

    The licence is that of the base model: from a GGUF file's metadata, from a folder's card, or from the Hub's.
    """
    base_id, dataset_id = None, None
    if not Path(base.path).is_dir():
        base_id = base.path
    name = data_args.dataset_name or Path(str(data_args.train_file)).name
    if data_args.dataset_name and not name.startswith("package:") and not Path(name).is_dir():
        dataset_id = name
    dataset_card = _card_metadata(dataset_id, Path(resolve_package_path(name)), "dataset")
    languages = [data_args.language] if data_args.language else _as_list(dataset_card.get("language"))
    title = dataset_id or Path(name).name
    return Provenance(
        base_model_id=base_id,
        base_model_text=_base_model_text(model_args, base_id),
        license=_base_license(base, base_id),
        dataset_id=dataset_id,
        dataset_title=title,
        dataset_name=str(dataset_card.get("pretty_name") or title),
        dataset_text=f"[{dataset_id}](https://huggingface.co/datasets/{dataset_id})" if dataset_id else f"`{title}`",
        dataset_config=data_args.dataset_config_name,
        dataset_revision=_dataset_revision(data) if dataset_id else None,
        languages=languages,
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


def _base_license(base: "BaseModel", base_id: str | None) -> str | None:
    if "gguf_file" in base.options:
        from gguf import GGUFReader

        field = GGUFReader(Path(base.path) / base.options["gguf_file"]).fields.get("general.license")
        return str(field.contents()) if field else None
    license = _card_metadata(base_id, Path(base.path), "model").get("license")
    return str(license) if license else None


def _card_metadata(repo_id: str | None, folder: Path, repo_type: str) -> dict[str, Any]:
    """Metadata of a repository's card, empty where there is no card."""
    from huggingface_hub import RepoCard, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    if repo_id is not None:
        try:
            readme = Path(hf_hub_download(repo_id, "README.md", repo_type=repo_type))
        except (EntryNotFoundError, LocalEntryNotFoundError):
            return {}
    else:
        readme = folder / "README.md"
        if not readme.is_file():
            return {}
    return RepoCard.load(readme, repo_type=repo_type, ignore_metadata_errors=True).data.to_dict()


def _dataset_revision(data: "LabelledSplits") -> str | None:
    """The commit that the rows were downloaded from; `datasets` keeps it in the addresses of the files."""
    addresses = " ".join(data.splits["train"].info.download_checksums or {})
    found = re.search(r"@([0-9a-f]{40})", addresses)
    return found.group(1) if found else None


def _as_list(value: Any) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)
