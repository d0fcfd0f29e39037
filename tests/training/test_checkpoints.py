"""Which checkpoints are deleted, and which never are."""

from pathlib import Path

import pytest

from hf_sentiment_ft.training.checkpoints import checkpoint_folders, delete_old_checkpoints, finish_checkpoint


def save(output_dir: Path, step: int) -> Path:
    final = output_dir / f"checkpoint-{step}"
    folder = output_dir / "unfinished" / final.name
    folder.mkdir(parents=True)
    for name in ("model.safetensors", "trainer_state.json"):
        (folder / name).write_text("{}")
    finish_checkpoint(folder, final, {}, save_only_model=False)
    return final


@pytest.mark.parametrize(
    ("limit", "best", "cut", "left"),
    [
        (None, None, [], [2, 4, 10, 12]),
        (2, None, [], [10, 12]),
        (1, None, [], [12]),
        (1, 2, [], [2, 12]),
        (1, 12, [], [12]),
        (2, 2, [], [2, 12]),
        (3, None, [10], [2, 4, 12]),
        (1, None, [14], [12]),
        (1, 4, [14], [4, 12]),
        (2, None, [14], [10, 12]),
    ],
)
def test_the_newest_and_the_best_are_never_deleted(
    limit: int | None, best: int | None, cut: list[int], left: list[int], tmp_path: Path
):
    """An incomplete checkpoint is deleted first, even if it has the highest number."""
    for step in sorted({2, 4, 10, *cut}):
        save(tmp_path, step)
    for step in cut:
        (tmp_path / f"checkpoint-{step}" / "model.safetensors").write_text("")
    newest = save(tmp_path, 12)
    elsewhere = Path("..", tmp_path.name, f"checkpoint-{best}")  # another spelling
    delete_old_checkpoints(newest, best and str(elsewhere), limit)
    assert [int(folder.name[11:]) for folder in checkpoint_folders(tmp_path)] == left


def test_other_peoples_folders_are_left_alone(tmp_path: Path):
    """They do not count, even the oldest or the one that looks damaged; nor does one with something of theirs in it."""
    theirs = tmp_path / "checkpoint-1"
    theirs.mkdir()
    (theirs / "model.safetensors").write_text("mine")
    elsewhere = save(tmp_path / "elsewhere", 3)
    (tmp_path / "checkpoint-3").symlink_to(elsewhere)
    (save(tmp_path, 2) / "notes.txt").write_text("mine")
    for step in (4, 6, 8):
        newest = save(tmp_path, step)
    delete_old_checkpoints(newest, None, 2)
    assert [int(folder.name[11:]) for folder in checkpoint_folders(tmp_path)] == [1, 2, 3, 6, 8]
    assert (theirs / "model.safetensors").read_text() == "mine"
    assert (elsewhere / "model.safetensors").is_file()
    assert not (tmp_path / "unfinished").exists()


def test_another_persons_folder_is_not_replaced(tmp_path: Path):
    """Even if it has appeared since the run began; an older checkpoint of the run is."""
    save(tmp_path, 2)
    save(tmp_path, 2)
    (tmp_path / "checkpoint-4").mkdir()
    (tmp_path / "checkpoint-4" / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="checkpoint-4 is in the way"):
        save(tmp_path, 4)
    assert (tmp_path / "checkpoint-4" / "notes.txt").read_text() == "mine"
