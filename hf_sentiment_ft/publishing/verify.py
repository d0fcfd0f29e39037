"""Verify a published model the way a stranger would use it: from the Hub, in a fresh process, with an empty cache."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import PublishError, explain
from ..hub import hub_errors, limit_waiting, with_retries
from .examples import sample_answers
from .repository import Destination

if TYPE_CHECKING:
    from ..label_words.model import LabelWordModel


def verify(folder: Path, files: list[Path], destination: Destination, revision: str) -> list[str]:
    """Compare what is on the Hub with the run that it came from.

    Args:
        folder: Folder of the finished run.
        files: Files of the run that were published.
        destination: Where they were pushed to.
        revision: Commit that was pushed.

    Returns:
        One line for each difference; empty if there is none.

    Raises:
        PublishError: If there is too little memory to load the published model.
    """
    expected = sample_answers(folder)
    asked = {"repo_id": destination.repo_id, "revision": revision, "texts": list(expected)}
    found = _look_from_a_fresh_process(asked | {"timeout": destination.timeout}, destination.token)
    if "too_large" in found:
        raise PublishError(
            f"{destination.repo_id} is published at revision {revision}, but it was not verified: this machine has too "
            f"little memory to load it ({found['too_large']}). Free some memory, then verify it with the command "
            "below; uploaded files are not uploaded again."
        )
    different = _compare_files(folder, files, found["hashes"]) if "hashes" in found else []
    if "error" in found:
        return [*different, f"the published model does not load: {found['error']}"]
    different += [
        f"for {text!r}, the published model generates {answer!r}, but the evaluated one generated {word!r}"
        for (text, word), answer in zip(expected.items(), found["answers"], strict=True)
        if answer != word
    ]
    return different + [
        f'for {text!r}, pipeline("decision") gives the probabilities {decided}, but predict gives {predicted}'
        for text, decided, predicted in found["decisions"]
    ]


def _compare_files(folder: Path, files: list[Path], hashes: dict[str, str]) -> list[str]:
    names = {path.relative_to(folder).as_posix(): path for path in files}
    missing = [f"{name} is missing on the Hub" for name in names if name not in hashes]
    changed = [name for name, path in names.items() if hashes.get(name, sha256(path)) != sha256(path)]
    return missing + [f"{name} has different content on the Hub" for name in changed]


def sha256(path: Path) -> str:
    """Return the SHA-256 hash of a file's content."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _look_from_a_fresh_process(asked: dict[str, Any], token: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as empty_cache:
        # Pass the token in the environment: every user of the machine can read a process's command-line arguments.
        environment = {**os.environ, "HF_HOME": empty_cache, "HF_TOKEN": token, "HF_HUB_OFFLINE": "0"}
        # Remove other cache locations, and variables that would make the process join a distributed run.
        for name in ("HF_HUB_CACHE", "HF_XET_CACHE", "HF_ASSETS_CACHE", "RANK", "WORLD_SIZE", "LOCAL_RANK"):
            environment.pop(name, None)
        finished = subprocess.run(
            [sys.executable, "-m", "hf_sentiment_ft.publishing.verify"],
            input=json.dumps(asked),
            env=environment,
            capture_output=True,
            text=True,
        )
    if finished.returncode:
        last = (finished.stderr.strip().splitlines() or [f"exit code {finished.returncode}"])[-1]
        if finished.returncode == -signal.SIGKILL:  # killed by the system, which gives no reason
            return {"too_large": "the operating system killed the process"}
        # "failed to map segment" is how the loader says that a library of torch does not fit.
        no_memory = "memory" in last.lower() or "failed to map segment" in last
        return {"too_large" if no_memory else "error": last}
    found: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return found


def download_and_answer(repo_id: str, revision: str, texts: list[str], timeout: int) -> dict[str, Any]:
    """Download a commit, hash its files, and let a bare pipeline answer texts.

    The pipeline runs on the CPU, since the trained model may still fill the GPU.

    Args:
        repo_id: Repository, as `user/name`.
        revision: Commit to download.
        texts: Texts to answer.
        timeout: Seconds to wait for one response of the Hub.

    Returns:
        `hashes` by file name, once everything is downloaded; `answers` and `decisions`, the return value of
        `different_decisions`, or an `error` in their place.
    """
    from huggingface_hub import snapshot_download
    from transformers import GenerationConfig, pipeline

    limit_waiting(timeout)
    found: dict[str, Any] = {}
    try:
        folder = Path(with_retries(lambda: snapshot_download(repo_id, revision=revision), timeout))
        files = (path for path in folder.rglob("*") if path.is_file())
        found["hashes"] = {path.relative_to(folder).as_posix(): sha256(path) for path in files}
        if (folder / "adapter_config.json").is_file():  # a pipeline would use the base model's tokenizer and settings
            settings = GenerationConfig.from_pretrained(folder)
            own = {"tokenizer": str(folder), "generation_config": settings}
            classify = pipeline("text-generation", str(folder), device="cpu", **own)
        else:
            classify = pipeline("text-generation", model=repo_id, revision=revision, device="cpu")
        answers = (classify(text, return_full_text=False, truncation=True) for text in texts)
        found["answers"] = [answer[0]["generated_text"] for answer in answers]
        del classify  # one model at a time
        found["decisions"] = different_decisions(folder, texts)
    except hub_errors() as error:
        found["error"] = explain(error)
    return found


def different_decisions(folder: Path, texts: list[str]) -> list[tuple[str, Any, list[float]]]:
    """Ask a decision model for texts, and return those of which the probabilities are not those of `predict`.

    Args:
        folder: Folder of a model; if it is not a decision model, or one that refuses all questions, none is asked.
        texts: Texts. Those that are too long for the model, which only `predict` truncates, are left out.

    Returns:
        The text; the decision model's probabilities, or the message with which it refuses the text, unless there is
        white space at its ends; and the probabilities of `predict`.
    """
    import torch
    from jinja2 import TemplateError
    from transformers import pipeline
    from transformers.decision import DecisionConfig

    from ..label_words.classifier import TOLERANCE
    from ..label_words.model import load_label_word_model, predict_probabilities

    decision = DecisionConfig.from_pretrained(folder)
    if not decision.labels and not (folder / "decision").is_dir():
        return []
    loaded = load_label_word_model(str(folder))
    model, tokenizer = loaded.model, loaded.tokenizer
    texts = [text for text in texts if len(tokenizer(text).input_ids) <= tokenizer.model_max_length]
    tolerance = max(TOLERANCE, 4 * torch.finfo(model.dtype).eps)
    if loaded.questions:
        return _different_answers(loaded, folder, texts, tolerance)
    expected = predict_probabilities(loaded, texts, batch_size=1)
    # The decision config of this commit: the pipeline would read the main branch's.
    decide = pipeline("decision", model=model, tokenizer=tokenizer, decision_config=decision, device="cpu")
    question = {"type": "choice", "criteria": dict.fromkeys(loaded.verbalizer.labels)}
    different: list[tuple[str, Any, list[float]]] = []
    for text, predicted in zip(texts, expected, strict=True):
        try:
            answer = decide({"state": text, "questions": {"label": question}})["label"]
        except TemplateError as error:
            if text and text == text.strip():
                different.append((text, str(error), predicted.tolist()))
            continue
        decided = [answer["probabilities"][label] for label in loaded.verbalizer.labels]
        if not abs(predicted - decided).max() <= tolerance:  # written this way, it also finds NaN
            different.append((text, decided, predicted.tolist()))
    return different


def _different_answers(
    loaded: "LabelWordModel", folder: Path, texts: list[str], tolerance: float
) -> list[tuple[str, Any, list[float]]]:
    """Do the same as `different_decisions` for a model of several questions, which are asked together if they can be.

    Args:
        loaded: The model.
        folder: Its folder, with a decision config for all questions, or for each label column.
        texts: Texts with a question behind them.
        tolerance: Largest difference between two probabilities that count as equal.
    """
    from jinja2 import TemplateError
    from transformers import pipeline
    from transformers.decision import DecisionConfig

    from ..label_words.answers import answer_questions
    from ..label_words.decision import column_folder

    questions, labels = loaded.questions, loaded.verbalizer.labels
    assert questions is not None
    suffixes = tuple(questions.ask([""]))
    texts = [text.removesuffix(next(filter(text.endswith, suffixes), "")) for text in texts]
    expected = answer_questions(loaded, texts, batch_size=1)
    numbers = range(len(questions.names))
    together = [list(numbers)] if questions.multi_label else [[number] for number in numbers]
    different: list[tuple[str, Any, list[float]]] = []
    for asked in together:
        where = folder if questions.multi_label else folder / column_folder(questions, asked[0])
        decision = DecisionConfig.from_pretrained(where)
        decide = pipeline(
            "decision", model=loaded.model, tokenizer=loaded.tokenizer, decision_config=decision, device="cpu"
        )
        request = {
            questions.names[number]: {"type": "noul"}
            if questions.multi_label
            else {"type": "choice", "criteria": dict.fromkeys(labels[label] for label in questions.label_ids[number])}
            for number in asked
        }
        for text, predicted in zip(texts, expected, strict=True):
            try:
                answers = decide({"state": text, "questions": request})
            except TemplateError as error:
                if text and text == text.strip():
                    different.append((text, str(error), []))
                continue
            for number in asked:
                answer, own = answers[questions.names[number]], predicted[number][questions.label_ids[number]]
                decided = (
                    [1 - answer["noul"], answer["noul"]]
                    if questions.multi_label
                    else [*answer["probabilities"].values()]
                )
                if not abs(own - decided).max() <= tolerance:
                    different.append((text, decided, own.tolist()))
    return different


def main() -> None:
    """Read the arguments of `download_and_answer` from standard input as JSON, and print its return value."""
    print(json.dumps(download_and_answer(**json.load(sys.stdin))))


if __name__ == "__main__":
    main()
