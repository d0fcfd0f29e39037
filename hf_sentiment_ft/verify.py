"""Look at what was published as a stranger would: from the Hub, in a fresh process, with an empty cache."""

import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from .hub import Destination
from .output import published_files
from .push import remote_files, same_content

SAMPLE_SIZE = 16


def verify(folder: Path, destination: Destination, revision: str) -> list[str]:
    """Compare what is on the Hub with the run it came from.

    Args:
        folder: The finished run.
        destination: Where it was pushed.
        revision: The pushed commit.

    Returns:
        What differs, a line each; empty if nothing does.
    """
    return _compare_files(folder, destination, revision) + _compare_answers(folder, destination, revision)


def _compare_files(folder: Path, destination: Destination, revision: str) -> list[str]:
    remote = remote_files(destination, revision)
    different = []
    for path in published_files(folder):
        name = path.relative_to(folder).as_posix()
        if name not in remote:
            different.append(f"{name} is not on the Hub")
        elif not same_content(path, remote[name]):
            different.append(f"{name} has other content on the Hub")
    return different


def sample_answers(folder: Path, size: int = SAMPLE_SIZE) -> dict[str, str]:
    """Texts of the evaluated split, evenly spread, with the words that the evaluated model generates for them."""
    predictions = next(path for path in sorted(folder.glob("*_predictions.csv"), reverse=True))
    with predictions.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    step = max(1, len(rows) // size)
    return {row["text"]: row["generated_text"] for row in rows[::step][:size]}


def _compare_answers(folder: Path, destination: Destination, revision: str) -> list[str]:
    expected = sample_answers(folder)
    with tempfile.TemporaryDirectory() as empty_cache:
        # By environment and standard input: arguments of a process can be read by every user of the machine.
        environment = {**os.environ, "HF_HOME": empty_cache, "HF_TOKEN": destination.token, "HF_HUB_OFFLINE": "0"}
        for name in ("HF_HUB_CACHE", "HF_XET_CACHE", "TRANSFORMERS_CACHE", "RANK", "WORLD_SIZE", "LOCAL_RANK"):
            environment.pop(name, None)
        asked = {"repo_id": destination.repo_id, "revision": revision, "texts": list(expected)}
        finished = subprocess.run(
            [sys.executable, "-m", "hf_sentiment_ft.verify"],
            input=json.dumps(asked),
            env=environment,
            capture_output=True,
            text=True,
        )
    if finished.returncode:
        return [f"the published model does not load: {finished.stderr.strip().splitlines()[-1]}"]
    answers = json.loads(finished.stdout.splitlines()[-1])
    return [
        f"for {text!r} the published model says {answer!r}, the evaluated one {word!r}"
        for (text, word), answer in zip(expected.items(), answers, strict=True)
        if answer != word
    ]


def main() -> None:
    """Answer the texts that standard input names, by a bare pipeline from the Hub."""
    from transformers import pipeline

    asked: dict[str, Any] = json.load(sys.stdin)
    classify = pipeline("text-generation", model=asked["repo_id"], revision=asked["revision"])
    print(json.dumps([classify(text, return_full_text=False)[0]["generated_text"] for text in asked["texts"]]))


if __name__ == "__main__":
    main()
