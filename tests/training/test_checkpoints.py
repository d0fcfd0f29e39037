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
