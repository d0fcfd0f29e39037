"""Files beside the code, and files in other installed packages."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hf_sentiment_ft.errors import UsageError
from hf_sentiment_ft.paths import resolve_package_path, resource_path, resources

from .conftest import REVIEWS, ROOT

LAUNCHES = ("cpu", "multi_cpu", "single_gpu", "multi_gpu", "multi_node", "fsdp2", "deepspeed_zero2", "deepspeed_zero3")
NAMES = (*LAUNCHES, "tutorial", "quickstart")


def run(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hf_sentiment_ft.paths", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


def test_checkout_uses_its_own_files():
    assert resources() == ROOT
    assert (resources() / "model_card_template.md").is_file()


@pytest.mark.parametrize("name", NAMES)
def test_configurations_and_recipes_are_found_by_name(name: str):
    path = resource_path(name)
    assert path.is_file()
    assert path.name == f"{name}.yaml"
    assert path.parent.name == ("recipes" if name in ("tutorial", "quickstart") else "accelerate_configs")


def test_names_are_not_used_twice():
    stems = [path.stem for folder in ("accelerate_configs", "recipes") for path in (ROOT / folder).glob("*.yaml")]
    assert len(stems) == len(set(stems)), "or a recipe hides a launch configuration"


def test_skill_says_when_to_use_it():
    """Coding agents read the name and the description of each skill, and the rest of the one that they choose."""
    path = resource_path("skill")
    _, front, text = path.read_text(encoding="utf-8").split("---\n", 2)
    fields = yaml.safe_load(front)
    assert fields["name"] == path.parent.name
    assert 100 < len(fields["description"]) <= 1024
    assert len(text.splitlines()) < 100


def test_unknown_name_lists_those_there_are():
    with pytest.raises(UsageError) as error:
        resource_path("nothing")
    assert str(error.value).startswith("no configuration or recipe is named 'nothing'; expected one of: ")
    assert all(name in str(error.value) for name in NAMES)


def test_installed_package_uses_the_files_installed_with_it(tmp_path: Path):
    """As setup.cfg lays the wheel out: the root's files are in the package hf_sentiment_ft.resources."""
    site = tmp_path / "site"
    shutil.copytree(ROOT / "hf_sentiment_ft", site / "hf_sentiment_ft", ignore=shutil.ignore_patterns("__pycache__"))
    for folder in ("accelerate_configs", "recipes"):
        shutil.copytree(ROOT / folder, site / "hf_sentiment_ft" / "resources" / folder)
    shutil.copy(ROOT / "model_card_template.md", site / "hf_sentiment_ft" / "resources")
    finished = run("multi_gpu", cwd=site)
    expected = site / "hf_sentiment_ft" / "resources" / "accelerate_configs" / "multi_gpu.yaml"
    assert finished.stdout.strip() == str(expected), finished.stderr


def test_command_prints_the_path_alone():
    finished = run("multi_cpu")
    assert finished.returncode == 0
    assert finished.stdout == f"{ROOT / 'accelerate_configs' / 'multi_cpu.yaml'}\n"


@pytest.mark.parametrize("arguments", [["nothing"], [], ["cpu", "tutorial"]])
def test_command_that_does_not_fit_prints_no_path(arguments: list[str]):
    finished = run(*arguments)
    assert finished.returncode == 2
    assert "multi_gpu" in finished.stdout + finished.stderr
    assert "Traceback" not in finished.stderr


def test_usage_of_a_wrong_command_is_not_on_standard_output():
    assert run().stdout == ""


@pytest.mark.parametrize("name", ["gpt2", "user/name", "./folder", "/a/b.gguf", "packages:x/y"])
def test_other_names_are_left_alone(name: str):
    assert resolve_package_path(name) == name


def test_file_and_folder_in_a_package():
    assert resolve_package_path("package:hf_sentiment_ft/sample_reviews") == str(REVIEWS)
    assert resolve_package_path("package:hf_sentiment_ft/sample_reviews/test.csv") == str(REVIEWS / "test.csv")


def test_package_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "weights_only").mkdir()
    (tmp_path / "weights_only" / "__init__.py").write_text("raise RuntimeError('imported')")
    (tmp_path / "weights_only" / "model.gguf").write_bytes(b"")
    monkeypatch.syspath_prepend(tmp_path)
    found = resolve_package_path("package:weights_only/model.gguf")
    assert found == str(tmp_path / "weights_only" / "model.gguf")
    assert "weights_only" not in sys.modules


@pytest.mark.parametrize("package", ["no_such_package", "no-such-package", "", "os.path"])
def test_package_that_is_not_installed_is_named(package: str):
    name = f"package:{package}/model.gguf"
    with pytest.raises(UsageError) as error:
        resolve_package_path(name)
    assert str(error.value) == f"{name}: the Python package {package!r} is not installed."


def test_file_that_a_package_lacks_is_told_with_those_it_has():
    with pytest.raises(UsageError) as error:
        resolve_package_path("package:hf_sentiment_ft/sample_reviews/dev.csv")
    assert "the package has no 'sample_reviews/dev.csv'; it contains: README.md, test.csv, train.csv" in str(
        error.value
    )
