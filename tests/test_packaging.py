"""What is in the wheel, and that it works from any folder."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from hf_sentiment_ft.paths import resource_path

from .conftest import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), "."]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    assert len(list(folder.glob("*.tar.gz"))) == 1, "the source distribution builds too"
    return next(folder.glob("*.whl"))


def test_wheel_has_the_package_and_its_resources_and_nothing_else(wheel: Path):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    source = ROOT / "hf_sentiment_ft"
    expected = {
        f"hf_sentiment_ft/{path.relative_to(source)}"
        for path in [*source.rglob("*.py"), *source.rglob("*.jinja"), *source.rglob("page/*"), source / "py.typed"]
    }
    expected |= {f"hf_sentiment_ft/sample_reviews/{path.name}" for path in (source / "sample_reviews").iterdir()}
    resources = [ROOT / "model_card_template.md", *ROOT.glob("accelerate_configs/*.yaml"), *ROOT.glob("recipes/*.yaml")]
    resources += ROOT.glob("skills/*/SKILL.md")
    expected |= {f"hf_sentiment_ft/resources/{path.relative_to(ROOT)}" for path in resources}
    assert names == expected


def test_installed_wheel_works_from_any_folder(wheel: Path, tiny_gpt2: Path, tmp_path: Path):
    """Installed beside the checkout's own dependencies; the checkout itself is out of reach."""
    installed = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(installed), str(wheel)]
    subprocess.run(pip, check=True)
    environment = {**os.environ, "PYTHONPATH": str(installed)}

    def python(*words: str) -> str:
        command = [sys.executable, *words]
        finished = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert finished.returncode == 0, finished.stderr
        return finished.stdout.strip()

    assert python("-c", "import hf_sentiment_ft; print(hf_sentiment_ft.__file__)").startswith(str(installed))
    config = python("-m", "hf_sentiment_ft.paths", "cpu")
    assert config.startswith(str(installed))
    assert Path(python("-m", "hf_sentiment_ft.paths", "skill")).read_text() == resource_path("skill").read_text()
    flags = ["--model_name_or_path", str(tiny_gpt2), "--dataset_name", "package:hf_sentiment_ft/sample_reviews"]
    launch = ["-m", "accelerate.commands.launch", "--config_file", config, "-m", "hf_sentiment_ft.train"]
    python(*launch, *flags, "--max_steps", "2", "--eval_strategy", "no", "--save_strategy", "no",
           "--load_best_model_at_end", "false", "--max_test_samples", "4", "--max_eval_samples", "4")  # fmt: skip
    assert (tmp_path / "output" / "README.md").is_file()
    assert "\t" in python("-m", "hf_sentiment_ft.predict", "--model", "output", "a moving, funny film")
