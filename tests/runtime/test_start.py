"""What the start of a command refuses: caches that cannot be written to, whatever would be read through them."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import constants

from hf_sentiment_ft.errors import UsageError

from ..conftest import REVIEWS, ROOT

START = importlib.import_module("hf_sentiment_ft.runtime.start")


def train(*flags: object, cwd: Path, under: list[str] | None = None, **environment: str) -> str:
    """Start a run that is refused, and return its one error."""
    command = [*(under or []), sys.executable, "-m", "hf_sentiment_ft.train", *map(str, flags)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    ended = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    (error,) = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    return error


@pytest.mark.parametrize(
    ("variable", "named", "folder"),
    [
        ("HF_HOME", "HF_DATASETS_CACHE", "file/datasets"),
        ("HF_DATASETS_CACHE", "HF_DATASETS_CACHE", "file"),
        ("HF_METRICS_CACHE", "HF_METRICS_CACHE", "file"),
    ],
)
def test_a_cache_that_cannot_be_written_is_named(
    variable: str, named: str, folder: str, tiny_gpt2: Path, tmp_path: Path
):
    """And neither the table nor the metrics are blamed."""
    (tmp_path / "file").touch()
    flags = ["--model_name_or_path", tiny_gpt2, "--dataset_name", REVIEWS]
    error = train(*flags, cwd=tmp_path, **{variable: str(tmp_path / "file")})
    assert error.startswith(f"error: the cache folder {tmp_path / folder} cannot be written to: ")
    assert f"Set {named}, or HF_HOME for all caches, to a folder" in error
    assert not (tmp_path / "output").exists()


@pytest.mark.parametrize(
    ("options", "reason"), [("ro", "Read-only file system"), ("size=500k", "No space left on device")]
)
def test_a_cache_on_a_full_or_read_only_disk(options: str, reason: str, tiny_gpt2: Path, tmp_path: Path):
    (tmp_path / "home").mkdir()
    script = f'mount -t tmpfs -o {options} tmpfs home && "$@"'
    under = ["unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh"]
    if subprocess.run([*under, "true"], cwd=tmp_path, capture_output=True).returncode:
        pytest.skip("this system does not let us")
    flags = ["--model_name_or_path", tiny_gpt2, "--dataset_name", REVIEWS]
    error = train(*flags, cwd=tmp_path, under=under, HF_HOME=str(tmp_path / "home"))
    assert f"the cache folder {tmp_path / 'home' / 'datasets'} cannot be written to: {reason}. " in error


@pytest.mark.parametrize(
    ("model", "dataset", "needed"),
    [
        ("user/model", None, True),
        ("user/model", "user/data", True),
        ("user/cached", "user/data", True),
        ("user/cached", "user/cached", False),
        ("user/cached", None, False),
        (".", ".", False),
        ("package:hf_sentiment_ft/sample_reviews", None, False),
    ],
)
def test_the_cache_of_the_hub_may_be_read_only_if_it_has_everything(
    model: str, dataset: str | None, needed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As on clusters, where many share one."""
    tried: list[Path] = []
    monkeypatch.setattr(START, "try_writing", tried.append)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for kind in ("models", "datasets"):
        (tmp_path / f"{kind}--user--cached").mkdir()
    START.check_caches(model, dataset)
    assert (tmp_path in tried) is needed


def test_the_cache_of_the_hub_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(UsageError, match=f"the cache folder {tmp_path / 'file'} cannot be written to: .* Set HF_HUB_"):
        START.check_caches("user/model", None)
