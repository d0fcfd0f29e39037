"""A train split that is read while training goes on: its rows, their order, and what is refused."""

import bz2
import csv
import gzip
import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import ClassLabel, Dataset, Features, IterableDataset, Value
from huggingface_hub import HfApi
from safetensors.torch import load_file

from hf_sentiment_ft.command_line import parse_train_arguments
from hf_sentiment_ft.config import DataArguments
from hf_sentiment_ft.data import LabelledSplits, load_splits
from hf_sentiment_ft.errors import RunError, UsageError
from hf_sentiment_ft.sampling import StreamedRows
from hf_sentiment_ft.streaming import check_streaming

from . import forked
from .conftest import REVIEWS, launch
from .hub_server import HubServer
from .local_hub import REPO, api_fixture, files_of, hub_fixture, record  # noqa: F401
from .splits import refusal
from .test_publish import PUSHED
from .tiny import write_csv

ROWS = [(f"film {i}" + " and so on" * (i % 7), ("bad", "good")[i % 3 % 2]) for i in range(60)]
SMALL = {"streaming": True, "max_eval_samples": 10, "max_test_samples": 10, "shuffle_buffer_size": 20}


def load(label_words: str | None = None, **given: Any) -> LabelledSplits:
    return load_splits(DataArguments(**SMALL | given), 0, label_words)


def streamed(data: LabelledSplits) -> list[tuple[str, str]]:
    assert data.stream is not None
    assert data.stream.checked is not None
    return [(row["text"], data.labels[row["label"]]) for row in data.stream.checked]


def write(folder: Path, kind: str, rows: list[tuple[str, str]] = ROWS) -> str:
    """A file of each kind that tables come in."""
    table, path = Dataset.from_dict(dict(zip(("text", "label"), zip(*rows, strict=True), strict=True))), folder / kind
    if kind.endswith(".parquet"):
        table.to_parquet(path)
    elif kind.endswith(".jsonl"):
        table.to_json(path)
    elif kind.endswith(".tsv"):
        table.to_csv(path, sep="\t", index=False)
    else:
        content = Path(write_csv(folder / "plain.csv", rows)).read_bytes()
        path.write_bytes({".gz": gzip.compress, ".bz2": bz2.compress}.get(path.suffix, bytes)(content))
    return str(path)


@pytest.mark.parametrize("kind", ["a.csv", "a.tsv", "a.jsonl", "a.parquet", "a.csv.gz", "a.CSV.bz2"])
def test_rows_are_those_of_the_table(kind: str, tmp_path: Path):
    data = load(train_file=write(tmp_path, kind))
    assert streamed(data) == ROWS[20:]
    for split, rows in {"validation": ROWS[:10], "test": ROWS[10:20]}.items():
        assert data.splits[split]["text"][:] == [text for text, _ in rows]
        assert f"The data has no {split} split: 10 rows were taken from the beginning of train." in data.notes


def test_splits_of_their_own_are_read_up_to_a_limit(tmp_path: Path):
    for part in range(3):
        write_csv(tmp_path / f"part-{part}.csv", ROWS[20 * part :][:20])
    test = write_csv(tmp_path / "test.csv", [(f"new {text}", label) for text, label in ROWS[:8]])
    data = load(train_file=str(tmp_path / "part-*.csv"), validation_file=test, test_file=test, max_eval_samples=5)
    assert {split: len(rows) for split, rows in data.splits.items()} == {"train": 20, "validation": 5, "test": 8}
    assert "validation is the first 5 rows of that split; --max_eval_samples can take more." in data.notes
    assert not data.split_off
    assert sorted(streamed(data)) == sorted(ROWS)


def test_labels_that_come_late_are_named_by_the_files_or_by_label_words(tmp_path: Path):
    rows = [*ROWS, ("odd", "odd")]
    plain = write_csv(tmp_path / "plain.csv", rows)
    words = '{"good": " good", "odd": " odd", "bad": " bad"}'
    assert load(words, train_file=plain).labels == ["good", "odd", "bad"]
    assert streamed(load(words, train_file=plain))[-1] == ("odd", "odd")
    with pytest.raises(UsageError, match="Labels not among the first 20 rows are named by --label_words") as error:
        streamed(load(train_file=plain))
    assert "a label that train does not have ('odd'): row 60 (counted from 0). It is {'text': 'odd'" in str(error.value)
    named = Features({"text": Value("string"), "label": ClassLabel(names=["odd", "good", "bad"])})
    table = Dataset.from_list([{"text": text, "label": label} for text, label in rows], features=named)
    table.to_parquet(tmp_path / "typed.parquet")
    data = load(train_file=str(tmp_path / "typed.parquet"))
    assert (data.labels, streamed(data)[-1]) == (["odd", "good", "bad"], ("odd", "odd"))


@pytest.mark.parametrize(("row", "number"), [(("", "good"), 3), (("  ", "bad"), 25), (("late", ""), 59)])
def test_row_with_a_fault_is_shown_with_its_number(row: tuple[str, str], number: int, tmp_path: Path):
    """In validation, in the first rows, and on the way."""
    path = write_csv(tmp_path / "a.csv", [*ROWS[:number], row, *ROWS[number + 1 :]])
    with pytest.raises(UsageError, match=rf"has no (text|label) in column '\w+': row {number} \(counted from 0\)"):
        streamed(load(train_file=path))


def test_what_a_stream_does_not_tell_is_refused(tmp_path: Path):
    bad = [row for row in ROWS if row[1] == "bad"]
    begins_bad = write_csv(tmp_path / "begins.csv", [*bad[:10], *ROWS])
    assert "10 rows were taken from the beginning of train. They all have one label" in refusal(
        train_file=begins_bad, **SMALL
    )
    bad_first = write_csv(tmp_path / "sorted.csv", [*bad, *ROWS])
    few = write_csv(tmp_path / "few.csv", ROWS[:15])
    assert "train has 15 rows, too few to take 10 for it; lower --max_test_samples" in refusal(train_file=few, **SMALL)
    own = {"validation_file": few, "test_file": few}
    message = refusal(train_file=bad_first, **own, **SMALL)
    assert "the first 20 rows of train all have the label 'bad'" in message
    assert "Raise --shuffle_buffer_size (now 20)" in message
    assert "expected a whole split with --streaming, one of train" in refusal(
        dataset_name=str(REVIEWS), train_split="train[:50%]", **SMALL
    )
    Dataset.from_list([{"text": "a", "label": 1}]).save_to_disk(tmp_path / "saved")
    assert "is read from there bit by bit without --streaming" in refusal(dataset_name=str(tmp_path / "saved"), **SMALL)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--streaming needs --max_steps"),
        (["--num_train_epochs", "2"], "--streaming needs --max_steps"),
        (["--max_steps", "9", "--num_shots_per_class", "8"], "--num_shots_per_class is 8, which needs all rows"),
        (["--max_steps", "9", "--drop_duplicates"], "--drop_duplicates is True, which needs all rows"),
        (["--max_steps", "9", "--class_weights", "balanced"], "--class_weights is balanced, which needs all rows"),
        (["--max_steps", "9", "--max_train_samples", "8"], "--max_steps says how many rows are trained on."),
        (["--max_steps", "9", "--validation_split_percentage", "20"], "--max_eval_samples says how many rows"),
        (["--max_steps", "9", "--save_dataset_dir", "x"], "--save_dataset_dir is x, which needs all rows"),
        (["--max_steps", "9", "--dataloader_num_workers", "2"], "expected 0 with --streaming"),
        (["--max_steps", "9", "--train_sampling_strategy", "sequential"], "expected random or group_by_length"),
    ],
)
def test_flag_that_needs_the_table_is_refused(flags: list[str], message: str):
    _, data_args, _, _, args = parse_train_arguments(["--streaming", *flags])
    with pytest.raises(UsageError) as error:
        check_streaming(data_args, args)
    assert message in str(error.value)
    check_streaming(parse_train_arguments(flags)[1], args)


def test_evaluation_comes_by_steps_where_epochs_have_no_known_end():
    _, data_args, _, _, args = parse_train_arguments(["--streaming", "--max_steps", "50"])
    check_streaming(data_args, args)
    assert [args.eval_strategy.value, args.eval_steps, args.save_strategy.value, args.save_steps] == ["steps", 0.1] * 2


def make_rows(num_rows: int, read: Any = None, **given: Any) -> StreamedRows:
    """30 rows a pass, as long as their number says."""

    def numbers() -> Any:
        for number in range(30):
            yield {"text": str(number), "label": number % 2}

    def to_features(rows: dict[str, list[Any]], numbers: range) -> dict[str, list[Any]]:
        lengths = [int(text) + 1 for text in rows["text"]]
        return {"number": rows["text"], "length": lengths, "truncated": [length > 20 for length in lengths]}

    stream = IterableDataset.from_generator(read or numbers).shuffle(seed=1, buffer_size=8)
    return StreamedRows(stream, to_features, num_rows, **{"global_batch": 4, "grouped": True, "seed": 3} | given)


def test_each_row_comes_once_in_each_pass_and_never_in_the_same_order():
    rows = make_rows(75)
    order = [int(row["number"]) for row in rows]
    assert sorted(order[:30]) == sorted(order[30:60]) == list(range(30))
    assert len(set(order[60:])) == 15
    assert order[:30] != order[30:60]
    assert order == [int(row["number"]) for row in rows] == [int(row["number"]) for row in make_rows(75)]
    assert order != [int(row["number"]) for row in make_rows(75, seed=4)]
    assert rows.num_truncated == sum(number >= 20 for number in order), "of those given out, not of those read ahead"
    assert rows.describe(75).endswith("it has 30, so each came 2.5 times.")
    short = make_rows(12)
    assert len(list(short)) == 12
    assert short.describe(12).endswith("its end was not reached.")


def test_rows_of_similar_length_come_together():
    def mixed() -> Any:
        yield from ({"text": str(number * 37 % 200), "label": 0} for number in range(200))

    def spread(grouped: bool) -> int:
        lengths = [row["length"] for row in make_rows(200, mixed, grouped=grouped)]
        return sum(max(batch) - min(batch) for batch in zip(*[iter(lengths)] * 4, strict=True))

    assert spread(True) < spread(False) / 4


def test_stream_that_breaks_off_says_how_to_go_on():
    def broken() -> Any:
        yield from ({"text": str(number), "label": 0} for number in range(9))
        raise OSError("no more paper")

    with pytest.raises(RunError, match=r"in pass 1: OSError: no more paper\..*--resume_from_checkpoint true"):
        list(make_rows(50, broken))


def test_changed_files_are_noticed(tmp_path: Path):
    path = write_csv(tmp_path / "a.csv", ROWS)
    before = load(train_file=path).stream
    write_csv(tmp_path / "a.csv", [*ROWS, ("one more", "good")])
    after = load(train_file=path).stream
    assert before
    assert after
    assert before.source.startswith("1 file (")
    assert before.source != after.source
    assert load(train_file=path).stream.source == after.source


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
    for processes, rank in ((1, 0), (2, 0), (2, 1)):
        cwd = tmp_path / f"{processes}-{rank}"
        cwd.mkdir()
        given = [*flags(calm_gpt2, tmp_path), "--per_device_train_batch_size", 8 // processes, "--max_steps", 5]
        codes, printed = forked.train(
            *given, cwd=cwd, processes=processes, before=partial(record_rows, cwd / "rows"), rank=rank
        )
        assert codes == [0] * processes, printed
        seen.append((cwd / "rows").read_text().splitlines())
    one, first, second = seen
    assert len(set(one)) == 40
    assert [row for step in range(5) for row in first[4 * step :][:4] + second[4 * step :][:4]] == one
    weights = [load_file(tmp_path / name / "output" / "model.safetensors") for name in ("1-0", "2-0")]
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("row", "message"),
    [(("", "good"), "has no text in column 'text': row 57"), (("odd", "odd"), "train does not have ('odd'): row 57")],
)
def test_late_row_with_a_fault_ends_all_in_one_line(row: tuple[str, str], message: str, tiny_gpt2, tmp_path: Path):
    write_csv(tmp_path / "train.csv", [*ROWS[:57], row, *ROWS[58:]])
    codes, printed = forked.train(*flags(tiny_gpt2, tmp_path), cwd=tmp_path, processes=2)
    assert 2 in codes, printed
    assert 0 not in codes
    assert printed.count("error: ") == 1
    assert message in printed
    assert "Traceback" not in printed


def test_card_and_results_say_what_was_streamed(uninterrupted: Path):
    card = (uninterrupted / "output" / "README.md").read_text(encoding="utf-8")
    assert "| train | 98 | 0 |" in card
    assert "- The train split was streamed. Its labels" in card
    assert "are those of its first 20 rows." in card
    assert "- Training read 98 rows of the stream, of which 0 were cut; it has 40, so each came 2.5 times." in card
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
    """Launched on two processes; what is published says what the predictions say."""
    from transformers import pipeline

    name = "alice/large-reviews"
    api.create_repo(name, repo_type="dataset")
    table = Dataset.from_csv(str(REVIEWS / "train.csv"), cache_dir=str(tmp_path))
    for part in range(3):
        table.shard(3, part).to_parquet(tmp_path / f"train-{part}.parquet")
    table.select(range(200)).to_parquet(tmp_path / "test-0.parquet")
    api.upload_folder(repo_id=name, folder_path=tmp_path, repo_type="dataset", allow_patterns="*.parquet")
    given = ["--model_name_or_path", tiny_gpt2, "--dataset_name", name, "--streaming", "--max_steps", 20]
    given += ["--max_eval_samples", 12, "--max_test_samples", 15, "--shuffle_buffer_size", 50, "--learning_rate", 1e-3]
    given += ["--push_to_hub", "--hub_model_id", REPO, "--disable_tqdm", "true"]
    done = launch(*given, config="multi_cpu", processes=2, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert record(tmp_path / "output")["status"] == "verified"
    assert files_of(api) == PUSHED
    assert results(tmp_path)["train_streamed_rows"] == 20 * 32
    with (tmp_path / "output" / "test_predictions.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 15
    said = pipeline("text-generation", model=REPO)([row["text"] for row in rows], return_full_text=False)
    assert [answer[0]["generated_text"] for answer in said] == [row["generated_text"] for row in rows]
    run = json.loads(next((tmp_path / "output").glob("checkpoint-*/checkpoint.json")).read_text())["run"]
    assert run["train stream"] == f"{name} at {api.dataset_info(name).sha}"
    assert not list((tmp_path / "home").rglob("*.arrow")), "nothing of it was kept"
