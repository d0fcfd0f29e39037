"""Publish a Space in which a published model can be tried.

A static Space, which is free for everyone, runs the model in the visitor's browser, see `static_space`. A Gradio Space
runs this package's demo on the Hub's machines.
"""

import json
import logging
import re
import tempfile
from dataclasses import replace
from importlib.metadata import requires
from pathlib import Path
from typing import Any

from ..errors import PublishError, UsageError
from ..hub import with_retries
from ..label_words.export import FOLDERS, export_onnx
from .card import CARD_VALUES
from .destination import Destination
from .repository import CARD_TAG, Content, find_head, push_files
from .static_space import static_files

logger = logging.getLogger(__name__)

APP = """from hf_sentiment_ft.demo import build_demo

build_demo({model!r}).launch()
"""


def prepare_space(folder: Path, space: Destination) -> None:
    """Make what a Space needs besides the files of the run: for a static one, the model in ONNX.

    This comes before the model is pushed, since the ONNX model is among the files that are.

    Args:
        folder: Folder of the finished run.
        space: The Space.

    Raises:
        PublishError: If the model cannot be exported.
    """
    if space.space_sdk == "static" and not (folder / FOLDERS["int8"] / "model.onnx").is_file():
        logger.info("Exporting the model in 8 bits for the Space, whose page runs it in the browser.")
        try:
            export_onnx(folder, "int8")
        except UsageError as error:
            raise PublishError(f"no Space can be made of this model: {error}") from error


def publish_space(folder: Path, model: Destination, space: Destination) -> dict[str, Any]:
    """Push a Space for a model that is published, and compare what has arrived with what was sent.

    The Space is as private as the model.

    Args:
        folder: Folder of the finished run.
        model: Where the model is published.
        space: Where the Space is published.

    Returns:
        The part of `publication.json` on the Space.

    Raises:
        PublishError: If the push fails, or the files on the Hub differ.
    """
    head = find_head(model, "main")
    files = space_files(folder, model.repo_id, space)
    pushed = push_files(files, replace(space, private=bool(head and head.private)), "Publish a page to try the model")
    different = _verify(files, space, pushed.revision)
    if different:
        raise PublishError(f"the Space {space.repo_id} differs from what was sent:\n  " + "\n  ".join(different))
    return {
        "repo_id": space.repo_id,
        "sdk": space.space_sdk,
        "revision": pushed.revision,
        "url": space.page,
        "files": {name: len(_content(file)) for name, file in files.items()},
    }


def space_files(folder: Path, model_id: str, space: Destination) -> dict[str, Content]:
    """Return the files of a Space by their path in it.

    Args:
        folder: Folder of the finished run.
        model_id: Published model, as `user/name`.
        space: The Space.
    """
    values = json.loads((folder / CARD_VALUES).read_text(encoding="utf-8"))
    files: dict[str, Content] = {"README.md": _readme(values["metadata"], model_id, space).encode()}
    if space.space_sdk == "gradio":
        return files | _gradio_files(model_id)
    return files | static_files(folder, values, model_id, f"{space.api.endpoint}/{model_id}")


def _readme(metadata: dict[str, Any], model_id: str, space: Destination) -> str:
    from huggingface_hub import SpaceCardData

    name = model_id.split("/")[1]
    license = {key: metadata.get(key) for key in ("license", "license_name", "license_link")}
    fields: dict[str, Any] = license | {"emoji": "🏷️", "colorFrom": "blue", "colorTo": "green", "pinned": False}
    card = SpaceCardData(
        title=name,
        sdk=space.space_sdk,
        app_file="index.html" if space.space_sdk == "static" else "app.py",
        models=[model_id],
        tags=[CARD_TAG, "text-classification"],
        **fields,
    )
    return f"---\n{card.to_yaml()}\n---\n\nTry [{name}]({space.api.endpoint}/{model_id}).\n"


def _gradio_files(model_id: str) -> dict[str, Content]:
    """Return the app, this package's own code, and the requirements of its demo."""
    package = Path(__file__).parents[1]
    code = [path for path in package.rglob("*") if path.suffix in (".py", ".jinja", ".js", ".css")]
    needed = [line.partition(";") for line in requires("hf_sentiment_ft") or []]
    listed = [need.strip() for need, _, only in needed if not only or re.search(r"extra == .demo.", only)]
    return {
        "app.py": APP.format(model=model_id).encode(),
        "requirements.txt": "".join(f"{need}\n" for need in listed).encode(),
        **{f"hf_sentiment_ft/{path.relative_to(package).as_posix()}": path.read_bytes() for path in code},
    }


def _verify(files: dict[str, Content], space: Destination, revision: str) -> list[str]:
    """Download a Space into an empty folder and compare it with what was sent."""
    from huggingface_hub import snapshot_download

    where: Any = {"repo_type": "space", "revision": revision, "token": space.token}
    with tempfile.TemporaryDirectory() as empty:
        found = with_retries(lambda: snapshot_download(space.repo_id, **where, cache_dir=empty), space.timeout)
        arrived = {name: Path(found, name) for name in files}
        missing = [f"{name} is missing on the Hub" for name, path in arrived.items() if not path.is_file()]
        return missing + [
            f"{name} has different content on the Hub"
            for name, path in arrived.items()
            if path.is_file() and path.read_bytes() != _content(files[name])
        ]


def _content(file: Content) -> bytes:
    return file if isinstance(file, bytes) else file.read_bytes()
