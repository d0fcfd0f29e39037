"""The training command with a Hub from end to end: base model and data from it, the result to it, and no secrets."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from huggingface_hub import HfApi, ModelCard, parse_eval_result_entries

from hf_sentiment_ft.errors import UsageError
from hf_sentiment_ft.runtime.output_dir import clear_output_dir

from .. import forked
from ..conftest import REVIEWS
from ..hub_server import Fault, HubServer
from ..local_hub import (  # noqa: F401
    REPO,
    TOKEN,
    api_fixture,
    commits,
    files_of,
    finished_fixture,
    hub_fixture,
    quick_look_fixture,
    record,
    run_publish,
)
from .test_publish import PUSHED

BASE, DATA = "alice/tiny-gpt2", "alice/short-reviews"
QUICK = ["--max_train_samples", 64, "--max_eval_samples", 16, "--num_train_epochs", 1, "--zero_shot_baseline", "false"]
QUICK += ["--push_to_hub", "--hub_model_id", REPO, "--disable_tqdm", "true"]


@pytest.fixture
def stocked(api: HfApi, tiny_gpt2: Path) -> None:
    """A base model and a benchmark dataset on the Hub."""
    api.create_repo(BASE)
    api.upload_folder(repo_id=BASE, folder_path=tiny_gpt2)
    card = b"---\nlicense: mit\nlanguage: en\nbase_model: org/original\n---\n"
    api.upload_file(repo_id=BASE, path_or_fileobj=card, path_in_repo="README.md")
    api.create_repo(DATA, repo_type="dataset")
    api.upload_folder(repo_id=DATA, folder_path=REVIEWS, repo_type="dataset", allow_patterns="*.csv")
    benchmark = b"name: Short reviews\ntasks:\n- id: short_reviews\n"
    for name, content in {"README.md": b"---\nlanguage: en\nlicense: mit\n---\n", "eval.yaml": benchmark}.items():
        api.upload_file(repo_id=DATA, path_or_fileobj=content, path_in_repo=name, repo_type="dataset")


def launch_two(*flags: object, cwd: Path) -> subprocess.CompletedProcess:
    """Run the training command on two processes, which talk by gloo where there is no GPU."""
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    command += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    command += ["-m", "hf_sentiment_ft.train", *map(str, flags), "--use_cpu", "true"]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


def everything_in(folder: Path) -> dict[str, bytes]:
    """All files but the lock, which a process takes away with itself."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def names_holding(word: str, files: dict[str, bytes]) -> list[str]:
    return [name for name, content in files.items() if word.encode() in content or word in name]


def test_from_the_hub_to_the_hub(stocked: None, hub: HubServer, api: HfApi, tmp_path: Path, monkeypatch):
    """On two processes, with the token as a flag: it is nowhere afterwards, and what is pushed names no place."""
    work = tmp_path / "users" / "jane.doe"
    work.mkdir(parents=True)
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setenv("USER", "jane.doe")
    (work / "sitecustomize.py").write_text("import socket\nsocket.gethostname = lambda: 'janes-laptop'\n")
    monkeypatch.setenv("PYTHONPATH", str(work), prepend=os.pathsep)
    monkeypatch.setenv("HF_HOME", str(work / "caches"))
    flags = ["--model_name_or_path", BASE, "--dataset_name", DATA, *QUICK, "--output_dir", work / "output"]
    flags += ["--hub_token", TOKEN, "--hub_strategy", "checkpoint"]

    hub.clear_requests()
    use = partial(forked.use_test_hub, hub.endpoint, work, token="")
    planned = forked.finish(*flags, "--dry_run", cwd=work, before=use)
    assert f"{REPO}, branch main, a new repository\n  each checkpoint" in planned
    assert "label words\n  negative: ' negative', tokens [1000]" in planned
    assert len(re.findall(r"\\nSentiment:['\"] → ' ", planned)) == 3, "three prompts"
    assert re.search(r"\d+ steps of 16 rows.*\n  about .* GB", planned)
    changes = {row.path for row in hub.requests if row.method not in ("GET", "HEAD")}
    assert changes == {"/api/validate-yaml"}, "nothing is written to the Hub"
    assert not api.repo_exists(REPO)
    assert not hub.requests_to(r"safetensors|_storage", "GET"), "and no weights are downloaded"
    assert not everything_in(work / "output")

    hub.clear_requests()
    done = launch_two(*flags, cwd=work)
    assert done.returncode == 0, done.stderr
    assert "| world_size | 2 |" in (work / "output" / "README.md").read_text()
    assert len(hub.requests_to("whoami")) == 1, "one process asks"
    assert record(work / "output")["status"] == "verified"
    others = ("last-checkpoint/", ".eval_results/")
    assert {name for name in files_of(api) if not name.startswith(others)} == PUSHED
    assert any(name.startswith("last-checkpoint/") for name in files_of(api))

    card = ModelCard(Path(api.hf_hub_download(REPO, "README.md")).read_text()).data
    assert (card.base_model, card.datasets, card.license, card.language) == (BASE, [DATA], "mit", ["en"])
    assert (card.base_model_relation, len(card.eval_results)) == ("finetune", 3)
    (entry,) = parse_eval_result_entries(
        yaml.safe_load(Path(api.hf_hub_download(REPO, ".eval_results/short-reviews.yaml")).read_text())
    )
    assert (entry.dataset_id, entry.task_id) == (DATA, "short_reviews")
    assert entry.dataset_revision == api.dataset_info(DATA).sha == card.eval_results[0].dataset_revision
    assert entry.value == card.eval_results[0].metric_value

    assert done.stderr.count("The token was passed on the command line") == 1

    said = {"printed": (planned + done.stdout + done.stderr).encode()}
    assert names_holding(TOKEN, everything_in(work) | said) == []
    pushed = everything_in(Path(api.snapshot_download(REPO, local_dir=tmp_path / "copy")))
    for word in ("jane.doe", "janes-laptop", str(tmp_path)):
        assert names_holding(word, pushed) == [], word

    more = ["--model_name_or_path", BASE, "--dataset_name", DATA, *QUICK[:4], "--num_train_epochs", 2]
    more += ["--resume_from_checkpoint", tmp_path / "copy" / "last-checkpoint"]
    forked.finish(*more, cwd=tmp_path, before=partial(forked.use_test_hub, hub.endpoint, tmp_path))
    state = json.loads((tmp_path / "output" / "checkpoint-8" / "trainer_state.json").read_text())
    steps = [entry["step"] for entry in state["log_history"] if "eval_loss" in entry]
    assert steps == [2, 4, 8], "2 was the end of the epoch on two processes"


def test_a_refused_run_ends_on_all_processes(hub: HubServer, tiny_gpt2: Path, tmp_path: Path):
    hub.add_user("alice", "hf_read", role="read")
    flags = ["--model_name_or_path", tiny_gpt2, "--dataset_name", REVIEWS, *QUICK]
    use = partial(forked.use_test_hub, hub.endpoint, tmp_path, token="hf_read")
    codes, printed = forked.train(*flags, cwd=tmp_path, processes=2, before=use, rank=None)
    assert all(codes)
    assert printed.count("error: this token cannot write") == 1
    assert len(hub.requests_to("whoami")) == 1
    assert not everything_in(tmp_path / "output")


@pytest.mark.usefixtures("quick_look")
@pytest.mark.parametrize("fault", ["refused", "killed"])
def test_training_that_cannot_publish(
    fault: str, hub: HubServer, api: HfApi, tiny_gpt2: Path, tmp_path: Path, monkeypatch
):
    """A publication that the Hub refuses, and a process that is killed while it uploads the weights."""
    kind = {"refused": {"status": 403}, "killed": {"kind": "stall"}}[fault]
    met = hub.inject(Fault("PUT", "/_storage/lfs/", times=None, **kind))
    monkeypatch.chdir(tmp_path)
    flags = ["--model_name_or_path", tiny_gpt2, "--dataset_name", REVIEWS, *QUICK]
    started = forked.start(*flags, cwd=tmp_path, before=partial(forked.use_test_hub, hub.endpoint, tmp_path))
    while fault == "killed" and not met.matched and started[0].is_alive():
        time.sleep(0.05)
    if fault == "killed":
        started[0].kill()
    codes, said = forked.wait(started, tmp_path)
    assert codes == [{"refused": 1, "killed": -signal.SIGKILL}[fault]], said
    again = f"python -m hf_sentiment_ft.publish output --hub_model_id {REPO}"
    assert again in said
    assert (f"The run is complete in output. To publish it:\n  {again}" in said) is (fault == "refused")
    assert "Traceback" not in said
    assert files_of(api) == set()
    hub.clear_faults()
    assert run_publish(monkeypatch, *again.split()[3:]) == 0
    assert files_of(api) == PUSHED
    assert len(commits(api)) == 2


def test_without_a_test_split(hub: HubServer, api: HfApi, tiny_gpt2: Path, tmp_path: Path):
    """The verification has its sample from the validation split; what is reported is that split's."""
    flags = ["--model_name_or_path", tiny_gpt2, "--train_file", REVIEWS / "train.csv", "--test_split_percentage", 0]
    forked.finish(
        *flags, *QUICK, cwd=tmp_path, before=partial(forked.use_test_hub, hub.endpoint, tmp_path, verify_here=True)
    )
    assert files_of(api) == {name.replace("test_", "eval_") for name in PUSHED}
    output = tmp_path / "output"
    assert (record(output)["status"], record(output)["sample"]) == ("verified", 16)
    header = "text,label,prediction,generated_text,probability_negative,probability_positive"
    lines = (output / "eval_predictions.csv").read_text(encoding="utf-8").splitlines()
    assert (lines[0], len(lines)) == (header, 17)
    card = (output / "README.md").read_text(encoding="utf-8")
    assert "There is no test split" in card
    assert "![Confusion matrix of the validation split" in card


def test_a_dry_run_leaves_an_earlier_run_alone(finished: Path, tiny_gpt2: Path):
    """Only training itself clears away the run that it is to overwrite, and nothing else with it."""
    (finished / "checkpoint-18").mkdir()
    (finished / "notes.txt").write_text("mine")
    before = everything_in(finished)
    flags = ["--model_name_or_path", tiny_gpt2, "--dataset_name", REVIEWS, "--overwrite_output_dir"]
    forked.finish(*flags, "--dry_run", cwd=finished.absolute().parent)
    assert everything_in(finished) == before
    clear_output_dir(SimpleNamespace(process_index=0, resume_from_checkpoint=None, output_dir="output"))
    assert {path.name for path in finished.iterdir()} - {".lock"} == {"notes.txt"}


def test_what_is_refused_for_a_push_is_refused_by_the_command(hub: HubServer, tiny_gpt2: Path, tmp_path: Path):
    """After Trainer's own flag has been taken back, so that it does not push itself."""
    from hf_sentiment_ft.config.command_line import parse_train_arguments
    from hf_sentiment_ft.train import run

    flags = ["--model_name_or_path", tiny_gpt2, "--dataset_name", REVIEWS, "--output_dir", tmp_path / "out"]
    flags += ["--use_peft", "--push_to_hub", "--hub_model_id", REPO, "--hub_strategy", "every_save"]
    with pytest.raises(UsageError, match="--hub_strategy is every_save, but checkpoints of --use_peft are adapters"):
        run(parse_train_arguments([str(flag) for flag in flags]))
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").glob("*.safetensors"))
