"""Whose the files in an output folder are: a run's are replaced when that is asked for, all others never."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hf_sentiment_ft.errors import UsageError
from hf_sentiment_ft.runtime.output_dir import begin_run, check_output_dir, clear_output_dir, refuse_foreign_files
from hf_sentiment_ft.runtime.run_files import (
    CLASSIFIER_FILES,
    COMPARISON,
    EVALUATION_FILES,
    RECORD,
    begin_files,
    own_files,
    published_files,
    record_files,
)

from ..conftest import REVIEWS
from ..training.test_checkpoints import save

MINE = b"of my own"


def arguments(folder: Path, resume: str | None = None) -> Any:
    return SimpleNamespace(
        output_dir=str(folder), resume_from_checkpoint=resume, process_index=0, local_process_index=0, world_size=1
    )


def put(path: Path, content: bytes = MINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if name != ".lock" or path.stat().st_size}


def test_a_file_in_place_of_the_folder_is_called_so(tmp_path: Path):
    with pytest.raises(UsageError, match="is not a folder. Use another name."):
        check_output_dir(arguments(put(tmp_path / "output")), False, [])


@pytest.fixture
def finished(run_dir: Path, tmp_path: Path) -> Path:
    """A copy of a finished run, which a test may change."""
    return Path(shutil.copytree(run_dir, tmp_path / "output"))


@pytest.mark.parametrize("how", ["new", "overwrite", "resume"])
@pytest.mark.parametrize(
    "name",
    [
        "README.md", "config.json", "model.safetensors", "all_results.json", "card.json", "training_args.bin",
        "plots/training.png", "text-classification/config.json", "checkpoint-5/model.safetensors",
        "unfinished/novel.txt", RECORD, "plots", "text-classification", "checkpoint-5", ".lock",
    ],
)  # fmt: skip
def test_a_users_file_in_the_way_is_refused(name: str, how: str, tmp_path: Path):
    put(tmp_path / name)
    before, resumed = contents(tmp_path), "true" if how == "resume" else None
    with pytest.raises(UsageError) as error:
        check_output_dir(arguments(tmp_path, resumed), how == "overwrite", [])
    shown = name.partition("/")[0] if name.startswith(("checkpoint-", "unfinished")) else name
    assert shown in str(error.value)
    assert "Move " in str(error.value)
    assert "use another folder" in str(error.value)
    assert "already contains a run" not in str(error.value)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("target", ["there", "nowhere"])
def test_a_link_is_not_written_through(target: str, tmp_path: Path):
    mine, output = put(tmp_path / "there"), tmp_path / "output"
    output.mkdir()
    (output / "README.md").symlink_to(tmp_path / target)
    with pytest.raises(UsageError, match=r"would replace: README\.md\."):
        check_output_dir(arguments(output), True, [])
    assert mine.read_bytes() == MINE


def test_what_is_not_in_the_way_stays(finished: Path):
    """Also names that look much like those of a run, and folders that hold files of both."""
    clear_output_dir(arguments(finished))
    names = ["notes.txt", "mine.safetensors", "plots/mine.png", "checkpoint-notes.md", "checkpoint-best/a.txt"]
    names += ["text-classification/notes.txt"]
    for name in names:
        put(finished / name)
    check_output_dir(arguments(finished), False, [])
    begin_run(arguments(finished))
    put(finished / "README.md", b"by the run, of hf_sentiment_ft")
    put(finished / "plots" / "training.png", b"by the run")
    save(finished, 2)
    record_files(finished)
    assert {path.relative_to(finished).as_posix() for path in published_files(finished)} == {
        "README.md",
        "plots/training.png",
    }
    check_output_dir(arguments(finished), True, [])
    clear_output_dir(arguments(finished))
    assert contents(finished) == dict.fromkeys(names, MINE)


def test_what_was_exported_from_earlier_weights_goes_when_a_run_is_resumed(finished: Path):
    """Otherwise it would be published beside the new ones."""
    before = contents(finished)
    begin_files(finished, ["onnx/model.onnx", "text-classification/config.json"])
    for name in ("onnx/model.onnx", "text-classification/config.json"):
        put(finished / name, b"by the run")
    record_files(finished)
    put(finished / "onnx" / "notes.txt")
    begin_run(arguments(finished, "true"))
    after = contents(finished)
    assert after.keys() - before.keys() == {"onnx/notes.txt"}
    assert before.keys() - after.keys() == set()


@pytest.mark.parametrize("how", ["overwrite", "resume"])
@pytest.mark.parametrize("name", ["README.md", "eval_predictions.csv", "chat_template.jinja", "text-classification"])
def test_a_file_that_comes_after_the_run_is_not_the_runs(name: str, how: str, finished: Path):
    """Under a name that the run has not used, or in place of one of its files."""
    put(finished / name)
    if name != "README.md":  # its words below the line are published
        assert finished / name not in published_files(finished)
    with pytest.raises(UsageError, match=f"would replace: {name}"):
        check_output_dir(arguments(finished, "true" if how == "resume" else None), how == "overwrite", [])
    clear_output_dir(arguments(finished))
    assert contents(finished) == {name: MINE}


def test_a_note_in_a_checkpoint_keeps_it(finished: Path):
    clear_output_dir(arguments(finished))
    put(save(finished, 2) / "notes.txt")
    with pytest.raises(UsageError, match="would replace: checkpoint-2"):
        check_output_dir(arguments(finished), True, [])
    check_output_dir(arguments(finished, str(finished / "checkpoint-2")), False, [])  # it goes on with step 3
    save(finished, 4)
    check_output_dir(arguments(finished, "true"), False, [])
    put(finished / "checkpoint-6" / "notes.txt")
    with pytest.raises(UsageError, match="would replace: checkpoint-6"):
        check_output_dir(arguments(finished, "true"), False, [])


@pytest.mark.parametrize("recorded", [True, False], ids=["recorded", "of version 0.1.0"])
def test_a_run_is_known(recorded: bool, finished: Path):
    """The record of today, or what only a run of ours writes."""
    put(finished / "notes.txt")
    if not recorded:
        (finished / RECORD).unlink()
    with pytest.raises(UsageError, match="already contains a run"):
        check_output_dir(arguments(finished), False, [])
    check_output_dir(arguments(finished, "true"), False, [])
    check_output_dir(arguments(finished), True, [])
    published = {path.relative_to(finished).as_posix() for path in published_files(finished)}
    assert {"README.md", "config.json", "model.safetensors", "plots/training.png"} <= published
    clear_output_dir(arguments(finished))
    assert contents(finished) == {"notes.txt": MINE}
    assert [path.name for path in finished.iterdir() if path.name != ".lock"] == ["notes.txt"]


@pytest.mark.parametrize("kept", ["all_results.json", "config.json"])
def test_a_part_of_an_old_run_vouches_for_no_more_than_itself(kept: str, finished: Path):
    """An evaluation, and a run that was killed when it had saved its model, have no card."""
    for path in [finished / RECORD, finished / "card.json"]:
        path.unlink()
    put(finished / "README.md")
    for name in {"all_results.json", "config.json"} - {kept}:
        (finished / name).unlink()
    own = {path.name for path in own_files(finished)}
    assert "README.md" not in own
    assert ("test_predictions.csv" in own) is (kept == "all_results.json")
    assert ("model.safetensors" in own) is (kept == "config.json")


def test_a_killed_run_is_known_whatever_it_has_written(tmp_path: Path):
    """In any state; what is unfinished is its own, too."""
    begin_run(arguments(tmp_path))
    for name in ("README.md", "all_results.json", "unfinished/checkpoint-5/model.safetensors"):
        put(tmp_path / name, b"cut o")
    check_output_dir(arguments(tmp_path, "true"), False, [])
    check_output_dir(arguments(tmp_path), True, [])
    clear_output_dir(arguments(tmp_path))
    assert contents(tmp_path) == {}


def test_a_begun_run_that_has_written_nothing_is_none(tmp_path: Path):
    begin_run(arguments(tmp_path))
    check_output_dir(arguments(tmp_path), False, [])


@pytest.mark.parametrize("recorded", [True, False], ids=["recorded", "of version 0.1.0"])
def test_a_published_run_is_the_same_run(recorded: bool, finished: Path):
    """Publishing has written the card anew, with a person's words, and where to; another README is not the run's."""
    with (finished / "README.md").open("a") as file:
        file.write("\nMy aunt uses it.\n")
    put(finished / "publication.json", b'{"repo_id": "user/name"}')
    if not recorded:
        (finished / RECORD).unlink()
    check_output_dir(arguments(finished), True, [])
    put(finished / "README.md")
    put(finished / "publication.json")
    with pytest.raises(UsageError, match=r"would replace: README\.md, publication\.json\."):
        check_output_dir(arguments(finished), True, [])


def test_a_later_command_adds_to_the_record(finished: Path):
    """As the export of a classifier does."""
    begin_files(finished, CLASSIFIER_FILES)
    put(finished / "text-classification" / "config.json", b"{}")
    record_files(finished)
    assert finished / "text-classification" / "config.json" in published_files(finished)
    assert finished / "model.safetensors" in published_files(finished)
    check_output_dir(arguments(finished), True, [])


def test_a_later_command_keeps_an_old_run_whole(finished: Path):
    before = published_files(finished)
    (finished / RECORD).unlink()
    begin_files(finished, ["README.md"])
    record_files(finished)
    assert published_files(finished) == before


def test_an_evaluation_is_in_nobodys_way(finished: Path, tmp_path: Path):
    """It writes no card and no model, but its own names may be taken as well."""
    put(tmp_path / "mine" / "README.md")
    put(tmp_path / "mine" / "checkpoint-5" / "model.safetensors")
    check_output_dir(arguments(tmp_path / "mine"), False, [], EVALUATION_FILES)
    put(tmp_path / "mine" / "test_predictions.csv")
    with pytest.raises(UsageError, match=r"would replace: test_predictions\.csv\."):
        check_output_dir(arguments(tmp_path / "mine"), True, [], EVALUATION_FILES)


@pytest.mark.parametrize("old", [True, False], ids=["of version 0.1.0", "recorded"])
def test_a_comparison_is_replaced_if_it_is_one(old: bool, tmp_path: Path):
    ours = json.dumps({"pairs": [{"only_first_right": 1}]}).encode()
    if not old:
        begin_files(tmp_path, [COMPARISON])
    put(tmp_path / COMPARISON, ours)
    if not old:
        record_files(tmp_path)
    refuse_foreign_files(tmp_path, [COMPARISON])
    put(tmp_path / COMPARISON)
    with pytest.raises(UsageError, match=r"would replace: comparison\.json\."):
        refuse_foreign_files(tmp_path, [COMPARISON])


def test_a_record_is_not_believed_outside_its_folder(tmp_path: Path):
    """A folder may come from anybody."""
    mine, output = put(tmp_path / "mine.txt"), tmp_path / "output"
    files = {"../mine.txt": len(MINE), str(mine): len(MINE), "notes.txt": len(MINE)}
    put(output / RECORD, json.dumps({"files": files, "writing": ["../*", "*.txt"]}).encode())
    put(output / "notes.txt")
    check_output_dir(arguments(output), True, [])
    clear_output_dir(arguments(output))
    assert mine.exists()
    assert contents(output) == {"notes.txt": MINE}


@pytest.mark.parametrize("flags", [[], ["--overwrite_output_dir"]])
def test_the_command_names_them_before_any_work(flags: list[str], tiny_gpt2: Path, tmp_path: Path, monkeypatch, capsys):
    """With `--output_dir .` in a project's folder."""
    from hf_sentiment_ft import train

    put(tmp_path / "README.md")
    put(tmp_path / "config.json")
    monkeypatch.chdir(tmp_path)
    given = ["--model_name_or_path", str(tiny_gpt2), "--dataset_name", str(REVIEWS), "--output_dir", "."]
    monkeypatch.setattr("sys.argv", ["train", *given, *flags])
    with pytest.raises(SystemExit) as exit_info:
        train.main()
    assert exit_info.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "error: --output_dir . contains files that no run has written, or that have been changed since, and that this "
        "run would replace: README.md, config.json. Move them elsewhere, or use another folder."
    )
    assert contents(tmp_path) == {"README.md": MINE, "config.json": MINE}
