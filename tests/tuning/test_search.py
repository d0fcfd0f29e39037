"""A search: killed and resumed as if nothing had happened, and a winner that is what its trial promised."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from optuna.trial import FrozenTrial, TrialState

from hf_sentiment_ft import data, model, tune
from hf_sentiment_ft.tuning.study import Study
from hf_sentiment_ft.tuning.trial import Outcome, run_trial

from ..conftest import REVIEWS, ROOT

SPACE = """\
learning_rate: [1e-4, 1e-2, log]
num_train_epochs: [1, 2]
prompt_template: ["\\n{text}\\nSentiment:{label_word}", "{text} It was{label_word}"]
"""
TRIALS = 3


@pytest.fixture(scope="module")
def flags(tiny_gpt2: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The model has dropout, so that a random number too many would show."""
    path = tmp_path_factory.mktemp("space") / "space.yaml"
    path.write_text(SPACE)
    given = ["--model_name_or_path", str(tiny_gpt2), "--dataset_name", str(REVIEWS), "--zero_shot_baseline", "false"]
    given += ["--max_train_samples", "40", "--max_eval_samples", "20", "--max_test_samples", "20"]
    return [*given, "--num_trials", str(TRIALS), "--search_space", str(path)]


def search(*argv: object) -> None:
    _, *parsed = tune.parse_tune_arguments(list(map(str, argv)))
    tune.search(*parsed)


def trials(output: Path) -> list[FrozenTrial]:
    return optuna.load_study(study_name="search", storage=f"sqlite:///{output}/search/study.db").trials


@pytest.fixture(scope="module")
def finished(flags: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output folder of a search that was killed in its second trial, and resumed."""
    output = tmp_path_factory.mktemp("search") / "output"
    argv = [*flags, "--output_dir", str(output)]
    command = [sys.executable, "-m", "hf_sentiment_ft.tune", *argv]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(f"Trial 2 of {TRIALS}"):
            break
    process.send_signal(signal.SIGKILL)
    process.stderr.close()
    assert process.wait() == -signal.SIGKILL
    with pytest.raises(tune.UsageError, match="Pass --resume_from_checkpoint true"):
        search(*argv)
    with pytest.raises(tune.UsageError, match="weight_decay: 0.01 → 0.5"):
        search(*argv, "--resume_from_checkpoint", "true", "--weight_decay", "0.5")
    search(*argv, "--resume_from_checkpoint", "true")
    return output


def test_the_winner_is_what_its_trial_promised(finished: Path):
    best = min(trials(finished), key=lambda trial: trial.value or 9)
    newest = max(finished.glob("checkpoint-*"), key=lambda folder: int(folder.name[11:]))
    history = json.loads((newest / "trainer_state.json").read_text())["log_history"]
    losses = [entry["eval_log_loss"] for entry in history if "eval_log_loss" in entry]
    assert min(losses) == best.value, "to the last digit"
    results = json.loads((finished / "all_results.json").read_text())
    assert results["eval_accuracy"] == best.user_attrs["accuracy"]
    assert "test_accuracy" in results
    recipe = yaml.safe_load((finished / "search" / "best.yaml").read_text())
    assert {name: recipe[name] for name in best.params} == best.params
    assert "output_dir" not in recipe


def test_the_card_says_that_its_flags_were_searched(finished: Path):
    card = " ".join((finished / "README.md").read_text(encoding="utf-8").split())
    assert re.search(r"It was not used to choose the (checkpoint or the )?flags\.", card)
    assert "which is optimistic, since the flags were chosen on it." in card
    chosen = "These flags were chosen by the log loss on the validation split, among 3 trials, of which 3 finished: "
    assert f"{chosen}`learning_rate`, `num_train_epochs`, `prompt_template`. The test split was not looked at" in card
    assert "The figures on validation are those of the best of several trials, so they are optimistic." in card


def test_the_first_trial_has_the_flags_as_given(finished: Path):
    first = trials(finished)[0].params
    assert first == {
        "learning_rate": 5e-5,  # though it is out of the range
        "num_train_epochs": 1,
        "prompt_template": "\n{text}\nSentiment:{label_word}",
    }


def test_the_trial_that_was_killed_is_tried_again(finished: Path):
    first, killed, again, third = trials(finished)
    assert killed.state == TrialState.FAIL
    assert {first.state, again.state, third.state} == {TrialState.COMPLETE}
    assert killed.params == again.params != third.params


def test_a_resumed_search_chooses_as_one_that_never_stopped(tmp_path: Path):
    space = {"learning_rate": optuna.distributions.FloatDistribution(1e-5, 1e-3, log=True)}
    settings: dict[str, Any] = {"metric": "log_loss", "greater_is_better": False}

    def rates(folder: Path, kills: set[int]) -> list[float]:
        folder.mkdir()
        tried: list[float] = []
        while len(tried) < 14:  # some of them after the sampler has stopped choosing at random
            study = Study(folder, space, {"learning_rate": 5e-5}, settings, seed=42)
            while values := study.ask(14, None):
                if len(tried) in kills:
                    kills.remove(len(tried))
                    break
                tried.append(values["learning_rate"])
                study.tell(Outcome(abs(tried[-1] - 3e-4), 0.5, "finished"))
        assert max(map(len, study.table())) <= 80
        assert "learning_rate" in study.table()[-1], "what mattered"
        return tried

    assert rates(tmp_path / "whole", set()) == rates(tmp_path / "stopped", {0, 5, 12})


@pytest.mark.filterwarnings("error:The reported value is ignored")  # if it were evaluated twice
def test_a_trial_that_is_behind_is_stopped_after_a_quarter(flags: list[str], tmp_path: Path):
    _, _, given = tune.parse_tune_arguments(flags)
    parsed = tune.parse(given | {"output_dir": tmp_path / "output", "metric_for_best_model": "log_loss"})
    rates = optuna.distributions.FloatDistribution(1e-5, 1e-3)
    settings: dict[str, Any] = {"metric": "log_loss", "greater_is_better": False}
    study = Study(tmp_path, {"learning_rate": rates}, {"learning_rate": 5e-5}, settings, seed=0)
    values = study.ask(10, None)
    for _ in range(5):  # others that were far better from the start
        better: dict[str, Any] = {"value": 0.1, "intermediate_values": {1: 0.1, 2: 0.1, 3: 0.1}}
        better |= {"user_attrs": {"ended": "finished"}}
        study.study.add_trial(
            optuna.trial.create_trial(params={"learning_rate": 1e-4}, distributions={"learning_rate": rates}, **better)
        )
    rows = data.load_splits(parsed.data, 42)
    base = model.find_model_to_train(parsed.model)
    outcome = run_trial(parsed, base, model.load_config(base), rows, study.report)
    assert (values, outcome.ended, outcome.value) == ({"learning_rate": 5e-5}, "stopped", None)
    study.tell(outcome)
    stopped = study.study.trials[0]
    assert stopped.state == TrialState.PRUNED
    assert list(stopped.intermediate_values) == [1]
    counts = {"trials": 6, "finished": 5, "stopped": 1, "diverged": 0}
    assert study.summary() == {"flags": ["learning_rate"], "metric": "log loss", **counts}
    assert not list((tmp_path / "output").iterdir()), "a trial writes nothing"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--num_trials", "0"], "--num_trials is 0; expected at least 1."),
        (["--max_hours", "0"], "--max_hours is 0.0; expected more than 0."),
        (["--num_trails", "3"], "unknown flag --num_trails; did you mean --num_trials?"),
        (["--streaming", "--max_steps", "3"], "Search on a part of them"),
        (["--resume_from_checkpoint", "output/checkpoint-3"], "use --resume_from_checkpoint true"),
        (["--model_name_or_path", "a", "b", "--num_trials", "3"], "--num_trials is given, but a search is for one"),
        (["--model_name_or_path", "a", "b", "--push_to_hub"], "python -m hf_sentiment_ft.publish OUTPUT_DIR/NAME"),
    ],
)
def test_flags_that_make_no_sense_are_refused(
    argv: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(sys, "argv", ["tune", *argv])
    with pytest.raises(SystemExit) as ended:
        tune.main()
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_without_optuna_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(tune.UsageError, match=r'pip install "hf_sentiment_ft\[tune\]"'):
        search()
