"""A run that is killed by SIGKILL at any moment resumes to the same weights as an uninterrupted run."""

import time
from functools import partial
from pathlib import Path

import pytest

from hf_sentiment_ft.training.checkpoints import checkpoint_folders, find_damage

from .. import forked
from ..forked import FLAGS, finish, killed_at, weights
from ..hub_server import Fault, HubServer
from ..local_hub import REPO, hub_fixture, record  # noqa: F401

ON = ["--resume_from_checkpoint", "true"]
TRAINER, RESUMABLE = "hf_sentiment_ft.training.trainer", "hf_sentiment_ft.training.resumable"


@pytest.fixture(scope="module")
def uninterrupted(tiny_gpt2: Path, tmp_path_factory: pytest.TempPathFactory):
    """Return the weights of uninterrupted runs with dropout; the second epoch begins after step 8."""
    made: dict[int, bytes] = {}

    def of(processes: int) -> bytes:
        if processes not in made:
            cwd = tmp_path_factory.mktemp("uninterrupted")
            finish(*flags(tiny_gpt2, processes), cwd=cwd, processes=processes)
            made[processes] = weights(cwd)
        return made[processes]

    return of


def flags(model: Path, processes: int = 1) -> list[object]:
    return [*FLAGS, "--model_name_or_path", model, "--per_device_train_batch_size", 8 // processes]


@pytest.mark.parametrize(
    ("processes", "rank", "moment", "newest"),
    [
        (1, 0, (TRAINER, "LabelWordTrainer.prediction_step", 3), 6),
        (1, 0, ("torch", "save", 5), 3),
        (1, 0, ("os", "unlink", 3), 9),
        (1, 0, ("hf_sentiment_ft.evaluation", "save_results"), 14),
        (2, 1, (TRAINER, "label_word_loss", 11), 9),
        (2, 0, (RESUMABLE, "finish_checkpoint", 3), 6),
    ],
    ids=["evaluation", "save", "deletion", "after the last step", "two processes, step", "two processes, save"],
)
def test_killed_run_ends_with_the_same_weights(
    processes: int, rank: int, moment: tuple, newest: int, uninterrupted, tiny_gpt2: Path, tmp_path: Path
):
    given = flags(tiny_gpt2, processes)
    codes, printed = forked.train(
        *given, cwd=tmp_path, processes=processes, before=partial(killed_at, *moment), rank=rank
    )
    assert codes[rank] == -9, printed
    assert all(codes), printed
    if processes == 2:
        assert printed.count("error: lost the connection to another process") == 1, printed
        assert "Traceback" not in printed
    assert checkpoint_folders(tmp_path / "output")[-1].name == f"checkpoint-{newest}", "or it was another moment"
    assert not any(map(find_damage, checkpoint_folders(tmp_path / "output"))), "none is half written or half deleted"
    finish(*given, *ON, cwd=tmp_path, processes=processes)
    assert weights(tmp_path) == uninterrupted(processes)
    assert checkpoint_folders(tmp_path / "output")[-1].name == "checkpoint-14", "no step more"
    assert not (tmp_path / "output" / "unfinished").exists()


def test_killed_push_is_made_up_for(uninterrupted, hub: HubServer, tiny_gpt2: Path, tmp_path: Path):  # noqa: F811
    """The process is killed while it waits for the Hub."""
    hub.inject(fault := Fault("POST", "/commit/", kind="stall"))
    given = [*flags(tiny_gpt2), "--push_to_hub", "--hub_model_id", REPO]
    use = partial(forked.use_test_hub, hub.endpoint, tmp_path)
    started = forked.start(*given, cwd=tmp_path, before=use)
    while not fault.matched:
        assert started[0].is_alive(), (tmp_path / "printed.txt").read_text()
        time.sleep(0.01)
    started[0].kill()
    forked.wait(started, tmp_path)
    finish(*given, *ON, cwd=tmp_path, before=use)
    assert weights(tmp_path) == uninterrupted(1)
    assert record(tmp_path / "output")["status"] == "verified"
