"""Files in the working folder that have the names of libraries: named, and not taken for them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import REVIEWS, ROOT

NAMES = ["evaluate", "datasets", "tokenizers", "torch", "transformers", "accelerate", "numpy", "yaml"]
NAMES += ["random", "json", "csv", "logging"]


def run(module: str, *flags: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"hf_sentiment_ft.{module}", *map(str, flags)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


@pytest.fixture
def crowded(tmp_path: Path) -> Path:
    """A folder of somebody who has named many files badly."""
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text("raise SystemExit('this is no library')")
    (tmp_path / "safetensors").mkdir()
    (tmp_path / "safetensors" / "__init__.py").write_text("raise SystemExit('this is no library')")
    return tmp_path


@pytest.mark.parametrize(
    "module", ["train", "evaluate", "predict", "publish", "text_classification", "export", "paths"]
)
def test_they_are_named_by_every_command(module: str, crowded: Path):
    done = run(module, "--help", cwd=crowded)
    assert done.returncode == 0, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("warning: ")
    assert all(name in line for name in (*(f"{name}.py" for name in NAMES), "safetensors", "Rename"))
    assert "warning" not in done.stdout


def test_a_run_uses_the_libraries(crowded: Path, tiny_gpt2: Path):
    """Up to the metrics, for which the library `evaluate` is imported last."""
    flags = ["--model_name_or_path", tiny_gpt2, "--dataset_name", REVIEWS, "--max_test_samples", 10, "--use_cpu"]
    done = run("evaluate", *flags, cwd=crowded, PYTHONPATH=f"{ROOT}:")  # as `$PYTHONPATH:` adds the working folder
    assert done.returncode == 0, done.stderr
    assert (crowded / "evaluation" / "all_results.json").is_file()


def test_one_process_names_them(crowded: Path):
    assert run("paths", "--help", cwd=crowded, RANK="0").stderr
    assert not run("paths", "--help", cwd=crowded, RANK="1").stderr


def test_other_files_are_not_named(tmp_path: Path):
    """Nor a folder of data, nor a library whose checkout is installed and happens to be the working folder."""
    for name in ("notes.py", "test.py", "evaluate.txt", "datasets/reviews.csv", "library/__init__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    done = run("paths", "--help", cwd=tmp_path, PYTHONPATH=f"{ROOT}{os.pathsep}{tmp_path}")
    assert done.stderr == ""


@pytest.mark.parametrize("folder", [ROOT, ROOT / "hf_sentiment_ft"])
def test_this_repository_is_no_such_folder(folder: Path):
    assert run("paths", "--help", cwd=folder).stderr == ""


def test_a_safe_path_needs_no_word(crowded: Path):
    assert run("paths", "--help", cwd=crowded, PYTHONSAFEPATH="1").stderr == ""


def test_modules_of_the_working_folder_are_still_found(tmp_path: Path):
    """Last. In a program that imports the package, the order is the program's."""
    (tmp_path / "mine.py").touch()
    code = "import sys; before = list(sys.path); import hf_sentiment_ft; print(sys.path == before)\n"
    code += "sys.argv = ['-m']; hf_sentiment_ft._search_working_folder_last(); import mine; print(sys.path[-1] == '')"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["True", "True"]
