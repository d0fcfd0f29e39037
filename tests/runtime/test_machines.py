"""Eight processes on two machines: light ones, without training, since what counts is that they stay in step."""

import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hf_sentiment_ft.config.command_line import share_network_interface
from hf_sentiment_ft.data.sampling import IGNORED
from hf_sentiment_ft.runtime import distributed
from hf_sentiment_ft.runtime.distributed import first_process_first, from_first_process, gather, on_first_process
from hf_sentiment_ft.runtime.output_dir import _appears
from hf_sentiment_ft.training.checkpoints import find_checkpoint

from .. import forked
from ..forked import FLAGS, replaced, together
from ..tiny import base_tokenizer, tiny_model
from ..training.test_checkpoints import save
from ..training.test_trainer import ONE_TOKEN

# What the first process does for all


def in_step(args: Any, folder: Path) -> dict[str, Any]:
    """One kind of meeting after the other; the last one's answers are mixed up if one process has met more often."""
    said: dict[str, Any] = {}
    said["first alone"] = on_first_process(args, "a", lambda: (folder / "a").touch(exist_ok=False) or "done")
    said["from the first"] = from_first_process(args, "b", lambda: args.process_index + 10)
    with first_process_first(args, "c"):
        said["before"] = sorted(path.name for path in folder.glob("machine*"))
        if args.local_process_index == 0:
            time.sleep(0.2)
            (folder / f"machine{args.process_index}").touch()
    said["ranks"] = gather(args, "d", args.process_index)
    return said


def test_eight_processes_on_two_machines_stay_in_step(tmp_path: Path):
    answers = together(8, in_step, tmp_path, machines=2)
    for rank, said in enumerate(answers):
        assert said["first alone"] == ("done" if rank == 0 else None)
        assert said["from the first"] == 10
        own = f"machine{rank // 4 * 4}"
        assert (own in said["before"]) is (rank % 4 != 0), "the first of each machine comes before its others"
        assert said["ranks"] == list(range(8))


# Rows


def rows_seen(args: Any) -> tuple[list[int], Any]:
    """The rows that this process learns from in an epoch, and what it knows of the evaluation."""
    from datasets import Dataset

    from hf_sentiment_ft.training.trainer import LabelWordTrainer

    args.per_device_train_batch_size, args.per_device_eval_batch_size = 2, 4
    args.train_sampling_strategy = "group_by_length"
    ids = [[number + 1] * (1 + number % 7) for number in range(23)]  # a row is known by its token
    lengths = [len(row) for row in ids]
    trainer = LabelWordTrainer(
        verbalizer=ONE_TOKEN,
        precision="fp32",
        model=tiny_model(),
        args=args,
        train_dataset=Dataset.from_dict({"input_ids": ids, "labels": [[5]] * 23, "length": lengths}),
        eval_dataset=Dataset.from_dict({"input_ids": ids, "labels": [[0, number] for number in range(23)]}),
        processing_class=base_tokenizer("gpt2"),
    )
    learnt: list[int] = []
    for batch in trainer.get_train_dataloader():
        counted = batch["labels"][:, -1] != IGNORED
        learnt += (batch["input_ids"][counted, -1] - 1).tolist()
    return learnt, trainer.predict(trainer.eval_dataset)


def test_every_row_once_over_eight_processes():
    """23 rows are neither a multiple of the processes nor of their batches."""
    answers = together(8, rows_seen)
    assert sorted(row for rows, _ in answers for row in rows) == list(range(23))
    _, alone = together(1, rows_seen)[0]
    order = alone.label_ids[:, 1].argsort()
    for _, prediction in answers:
        assert sorted(prediction.label_ids[:, 1]) == list(range(23))
        own_order = prediction.label_ids[:, 1].argsort()
        assert np.allclose(prediction.predictions[0][own_order], alone.predictions[0][order], atol=1e-5)
        assert prediction.metrics["test_loss"] == pytest.approx(alone.metrics["test_loss"], abs=1e-5)


# One output folder


def elsewhere(folder: Path) -> None:
    """Work in another folder, on a machine whose file system is not shared, and do not look for long."""
    os.chdir(folder)
    replaced("hf_sentiment_ft.runtime.output_dir", "APPEARS_SECONDS", lambda seconds: 0.2)


def test_output_folders_that_are_not_one_are_refused(tiny_gpt2: Path, tmp_path: Path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    flags = [*FLAGS, "--model_name_or_path", tiny_gpt2]
    codes, printed = forked.train(*flags, cwd=first, processes=2, before=partial(elsewhere, second), rank=1)
    assert codes == [2, 2], printed
    host = socket.gethostname()
    assert (
        f"a file written to {host}:{first}/output does not appear in {host}:{second}/output. Use the full path"
        in printed
    )
    assert printed.count("error: ") == 1, printed
    assert "Traceback" not in printed
    left = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert left <= {"printed.txt", ".lock"}, "nothing is left of the test, and nothing was begun"


def test_a_file_that_a_network_shows_late_is_seen(tmp_path: Path):
    with ThreadPoolExecutor(1) as other:
        other.submit(lambda: time.sleep(0.5) or (tmp_path / "late").touch())
        assert _appears(tmp_path / "late")


def newest_seen(args: Any, folder: Path) -> Any:
    """Whether each process, of which the second sees no checkpoint in the list of files yet, goes on from the same."""
    if args.process_index == 1:
        replaced("hf_sentiment_ft.training.checkpoints", "checkpoint_folders", lambda original: lambda output_dir: [])
    args.output_dir, args.resume_from_checkpoint = str(folder), "true"
    return find_checkpoint(args)


def test_all_processes_go_on_from_the_checkpoint_that_the_first_one_finds(tmp_path: Path):
    newest = save(tmp_path, 4)
    assert together(2, newest_seen, tmp_path) == [str(newest)] * 2


def named(args: Any, folder: Path) -> Any:
    os.chdir(folder / str(args.process_index))
    args.resume_from_checkpoint = "checkpoint-4"
    return find_checkpoint(args)


def test_a_checkpoint_that_another_machine_does_not_have_is_refused(tmp_path: Path):
    (tmp_path / "0").mkdir()
    (tmp_path / "1").mkdir()
    save(tmp_path / "0", 4)
    here, there = together(2, named, tmp_path)
    assert here == "checkpoint-4"
    assert str(there).startswith(f"the checkpoint checkpoint-4 does not exist on {socket.gethostname()}. Put it on")


def test_a_mistake_that_the_first_process_finds_ends_all_with_one_message(tiny_gpt2: Path, tmp_path: Path):
    flags = [*FLAGS, "--model_name_or_path", tiny_gpt2, "--resume_from_checkpoint", "nowhere"]
    codes, printed = forked.train(*flags, cwd=tmp_path, processes=2)
    assert codes[0] == 2, printed
    assert codes[1] != 0, printed
    assert printed.count("error: ") == 1, printed
    assert "error: --resume_from_checkpoint is nowhere, which is not a checkpoint folder." in printed
    assert "Traceback" not in printed


# Connections


def test_gloo_takes_no_interface_that_there_is_not(tiny_gpt2: Path, tmp_path: Path):
    flags = [*FLAGS, "--model_name_or_path", tiny_gpt2]
    codes, printed = forked.train(*flags, cwd=tmp_path, processes=2, GLOO_SOCKET_IFNAME="nosuchinterface")
    assert all(codes), printed
    assert printed.count("error: ") == 1, printed
    assert "error: gloo could not connect the processes (" in printed
    assert "nosuchinterface). On machines with several network interfaces, set the one" in printed
    assert "Traceback" not in printed


def beside_nccl(args: Any, late: float) -> Any:
    """As beside NCCL: training's connection is there, gloo's is yet to be made."""
    args.device  # noqa: B018  # it connects
    distributed.CONNECTING_SECONDS = 2
    if late < 0:
        os.environ["GLOO_SOCKET_IFNAME"] = "nosuchinterface"
    time.sleep(args.process_index * abs(late))
    distributed.connect(args)
    time.sleep(args.process_index * 3)  # longer than connecting may take
    return gather(args, "a", args.process_index)


def test_a_connection_that_fails_is_told_apart_from_waiting():
    for said in together(2, beside_nccl, -0.1):
        assert "gloo could not connect the processes (RuntimeError: " in str(said)
        assert "GLOO_SOCKET_IFNAME=eth0" in str(said)
    late = together(2, beside_nccl, 4.0)
    assert "gloo could not connect the processes (DistStoreError: " in str(late[0])
    assert together(2, beside_nccl, 0.1) == [[0, 1], [0, 1]], "and waiting may take as long as --ddp_timeout"


@pytest.mark.parametrize(
    ("nccl", "gloo", "taken"),
    [
        ("lo", None, "lo"),
        ("=lo", None, "lo"),
        ("lo", "eth9", "eth9"),
        ("l", None, None),
        ("^lo", None, None),
        ("lo,eth", None, None),
        (None, None, None),
    ],
)
def test_gloo_takes_the_interface_that_nccl_takes(
    nccl: str | None, gloo: str | None, taken: str | None, monkeypatch: pytest.MonkeyPatch
):
    for name, value in {"NCCL_SOCKET_IFNAME": nccl, "GLOO_SOCKET_IFNAME": gloo}.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name, raising=False)
    share_network_interface()
    assert os.environ.get("GLOO_SOCKET_IFNAME") == taken
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "")  # so that it is as before again
