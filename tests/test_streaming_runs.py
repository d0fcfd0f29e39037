"""Runs on a streamed train split: killed, on two processes, from the Hub, and what they say of it."""

import csv
import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from huggingface_hub import HfApi
from safetensors.torch import load_file

from . import forked
from .conftest import REVIEWS
from .data.test_streaming import ROWS
from .hub_server import HubServer
from .local_hub import REPO, api_fixture, files_of, hub_fixture, record  # noqa: F401
from .publishing.test_publish import PUSHED
from .tiny import write_csv


@pytest.fixture(scope="module")
def calm_gpt2(tiny_gpt2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model without dropout, so that processes can be compared."""
    folder = tmp_path_factory.mktemp("calm") / "model"
    shutil.copytree(tiny_gpt2, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {name: 0.0 for name in config if name.endswith("_pdrop")}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def flags(model: Path, folder: Path) -> list[object]:
    """40 rows are left for train: its second pass begins within step 6 of 14."""
    path = folder / "train.csv"
    if not path.exists():
        write_csv(path, ROWS)
    given = ["--model_name_or_path", model, "--train_file", path, "--streaming", "--max_steps", 14, "--use_cpu", "true"]
    given += ["--max_eval_samples", 10, "--max_test_samples", 10, "--shuffle_buffer_size", 20, "--optim", "sgd"]
    given += ["--learning_rate", 0.5, "--precision", "fp32", "--zero_shot_baseline", "false", "--save_steps", 4]
    return [*given, "--eval_steps", 4, "--eval_strategy", "steps", "--save_strategy", "steps"]


@pytest.fixture(scope="module")
def uninterrupted(calm_gpt2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    cwd = tmp_path_factory.mktemp("uninterrupted")
    codes, printed = forked.train(*flags(calm_gpt2, cwd), "--per_device_train_batch_size", 7, cwd=cwd)
    assert codes == [0], printed
    return cwd


def test_killed_run_goes_on_with_the_right_rows(uninterrupted: Path, calm_gpt2: Path, tmp_path: Path):
    """In its second pass; and two processes share the same rows out."""
    given = [*flags(calm_gpt2, uninterrupted), "--per_device_train_batch_size", 7]
    killed = partial(forked.killed_at, "transformers", "Trainer.training_step", 11)
    codes, printed = forked.train(*given, cwd=tmp_path, before=killed)
    assert codes == [-9], printed
    assert (tmp_path / "output" / "checkpoint-8").is_dir()
    codes, printed = forked.train(*given, "--resume_from_checkpoint", "true", cwd=tmp_path)
    assert codes == [0], printed
    assert all_bytes(tmp_path) == all_bytes(uninterrupted)
    assert results(tmp_path)["train_streamed_rows"] == 98


def all_bytes(cwd: Path) -> bytes:
    return (cwd / "output" / "model.safetensors").read_bytes()


def results(cwd: Path) -> dict[str, Any]:
    return json.loads((cwd / "output" / "all_results.json").read_text())


def record_rows(path: Path) -> None:
    """Have this process write down the prompts that it learns from."""
    from transformers import Trainer

    learn = Trainer.training_step

    def written(self: Any, model: Any, inputs: dict[str, Any], *others: Any) -> Any:
        with path.open("a") as file:
            for ids, mask in zip(inputs["input_ids"], inputs["attention_mask"], strict=True):
                json.dump(self.processing_class.decode(ids[mask.bool()]), file)
                file.write("\n")
        return learn(self, model, inputs, *others)

    Trainer.training_step = written


def test_two_processes_share_the_rows_out(calm_gpt2: Path, tmp_path: Path):
    """Each row once in a pass, over both; and the weights are those of one process that has learnt from them all."""
    seen = []
    for processes, rank in ((1, 0), (2, 1)):
        cwd = tmp_path / f"{processes}-{rank}"
        cwd.mkdir()
        given = [*flags(calm_gpt2, tmp_path), "--per_device_train_batch_size", 8 // processes, "--max_steps", 5]
        codes, printed = forked.train(
            *given, cwd=cwd, processes=processes, before=partial(record_rows, cwd / "rows"), rank=rank
        )
        assert codes == [0] * processes, printed
        seen.append((cwd / "rows").read_text().splitlines())
    one, second = seen
    assert len(set(one)) == 40
    assert [row for step in range(5) for row in one[8 * step + 4 :][:4]] == second
    weights = [load_file(tmp_path / name / "output" / "model.safetensors") for name in ("1-0", "2-1")]
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], rtol=1e-4, atol=1e-5)


def test_late_row_with_a_fault_ends_all_in_one_line(tiny_gpt2: Path, tmp_path: Path):
    write_csv(tmp_path / "train.csv", [*ROWS[:57], ("odd", "odd"), *ROWS[58:]])
    codes, printed = forked.train(*flags(tiny_gpt2, tmp_path), cwd=tmp_path, processes=2)
    assert 2 in codes, printed
    assert 0 not in codes
    assert printed.count("error: ") == 1
    assert (
        "train does not have ('odd'): row 57 (counted from 0). The row is {'text': 'odd', 'label': 'odd'}." in printed
    )
    assert "Traceback" not in printed


def test_card_and_results_say_what_was_streamed(uninterrupted: Path):
    card = (uninterrupted / "output" / "README.md").read_text(encoding="utf-8")
    assert "| train | 98 | 0 |" in card
    assert "- The train split was streamed. Its labels" in card
    assert "were determined from its first 20 rows." in card
    used = "the stream has 40, so each was used 2.5 times."
    assert f"- Training read 98 rows of the stream, of which 0 were truncated; {used}" in card
    assert results(uninterrupted)["train_streamed_rows"] == 98
    run = json.loads((uninterrupted / "output" / "checkpoint-14" / "checkpoint.json").read_text())["run"]
    assert run["train stream"].startswith("1 file (")
    assert run["train rows"].startswith("20 (")
    assert run["shuffle_buffer_size"] == 20


def test_dry_run_reads_the_first_rows_only(uninterrupted: Path, calm_gpt2: Path, tmp_path: Path):
    codes, printed = forked.train(*flags(calm_gpt2, uninterrupted), "--dry_run", cwd=tmp_path)
    assert codes == [0], printed
    assert "train is streamed from 1 file (" in printed
    assert "14 steps of 16 rows" in printed


def test_from_the_hub_to_the_hub(hub: HubServer, api: HfApi, tiny_gpt2: Path, tmp_path: Path):
    """What is published says what the predictions say."""
    from transformers import pipeline

    name = "alice/large-reviews"
    api.create_repo(name, repo_type="dataset")
    table = Dataset.from_csv(str(REVIEWS / "train.csv"), cache_dir=str(tmp_path))
    for part in range(3):
        table.shard(3, part).to_parquet(tmp_path / f"train-{part}.parquet")
    table.select(range(200)).to_parquet(tmp_path / "test-0.parquet")
    api.upload_folder(repo_id=name, folder_path=tmp_path, repo_type="dataset", allow_patterns="*.parquet")
    given = ["--model_name_or_path", tiny_gpt2, "--dataset_name", name, "--streaming", "--max_steps", 10]
    given += ["--max_eval_samples", 12, "--max_test_samples", 15, "--shuffle_buffer_size", 50, "--learning_rate", 1e-3]
    given += ["--push_to_hub", "--hub_model_id", REPO, "--disable_tqdm", "true"]
    forked.finish(*given, cwd=tmp_path, before=partial(forked.use_test_hub, hub.endpoint, tmp_path, verify_here=True))
    assert record(tmp_path / "output")["status"] == "verified"
    assert files_of(api) == PUSHED
    assert results(tmp_path)["train_streamed_rows"] == 10 * 16
    with (tmp_path / "output" / "test_predictions.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 15
    said = pipeline("text-generation", model=REPO)([row["text"] for row in rows], return_full_text=False)
    assert [answer[0]["generated_text"] for answer in said] == [row["generated_text"] for row in rows]
    run = json.loads(next((tmp_path / "output").glob("checkpoint-*/checkpoint.json")).read_text())["run"]
    assert run["train stream"] == f"{name} at {api.dataset_info(name).sha}"
    assert not list((tmp_path / "home").rglob("*.arrow")), "nothing of it was kept"
