"""Several seeds: the best by validation is kept and published, and a stopped run goes on where it was."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from huggingface_hub import HfApi, ModelCard

from .. import forked
from ..conftest import REVIEWS
from ..hub_server import HubServer
from ..local_hub import TOKEN


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    with HubServer(tmp_path_factory.mktemp("hub")) as server:
        server.add_user("alice", TOKEN)
        yield server


FLAGS = ["--dataset_name", REVIEWS, "--max_steps", 4, "--learning_rate", 1e-3, "--zero_shot_baseline", "false"]
FLAGS += ["--max_eval_samples", 20, "--max_test_samples", 20]


@pytest.fixture(scope="module")
def finished(server: HubServer, tiny_gpt2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Working folder of a published run with the seeds 42 and 43."""
    cwd = tmp_path_factory.mktemp("seeds")
    flags = [*FLAGS, "--model_name_or_path", tiny_gpt2, "--num_seeds", 2, "--hub_model_id", "alice/seeds"]
    use = partial(forked.use_test_hub, server.endpoint, cwd, verify_here=True)
    forked.finish(*flags, "--push_to_hub", cwd=cwd, before=use)
    return cwd


def results_of(folder: Path) -> dict:
    return json.loads((folder / "all_results.json").read_text())


def test_the_best_by_validation_is_published_with_the_spread_of_all(finished: Path, server: HubServer):
    output = finished / "output"
    both = {seed: results_of(output / f"seed-{seed}") for seed in (42, 43)}
    best = max(both, key=lambda seed: (both[seed]["eval_accuracy"], -both[seed]["eval_log_loss"]))
    seeds = results_of(output)["seeds"]
    accuracies = [both[seed]["test_accuracy"] for seed in both]
    assert seeds["kept"] == best
    assert seeds["mean_accuracy"] == pytest.approx(sum(accuracies) / 2)
    assert seeds["std_accuracy"] == pytest.approx(abs(accuracies[0] - accuracies[1]) / 2**0.5)
    assert f"kept seed {best}, which has the best accuracy on validation" in (finished / "printed.txt").read_text()
    api = HfApi(endpoint=server.endpoint, token=TOKEN)
    assert [commit.title for commit in api.list_repo_commits("alice/seeds")][0] == "Publish model, card and results"
    assert not [name for name in api.list_repo_files("alice/seeds") if name.startswith("seed")]
    weights = (output / f"seed-{best}" / "model.safetensors").read_bytes()
    on_hub = api.hf_hub_download("alice/seeds", "model.safetensors", local_dir=finished / "downloaded")
    assert Path(on_hub).read_bytes() == weights
    card = ModelCard.load(output / "README.md").text
    assert "Training was repeated with 2 seeds" in card
    assert f"<td>{best} (kept)</td>" in (output / "report.html").read_text()
    assert f"| **{best}** | {both[best]['test_accuracy']:.4f} |" in card


def test_seeds_differ_in_their_weights_and_not_in_their_rows(finished: Path):
    folders = [finished / "output" / f"seed-{seed}" for seed in (42, 43)]
    weights = {(folder / "model.safetensors").read_bytes() for folder in folders}
    texts = {
        tuple(line.split(",")[0] for line in (folder / "test_predictions.csv").read_text().splitlines())
        for folder in folders
    }
    assert len(weights) == 2
    assert len(texts) == 1


def test_a_stopped_run_goes_on_and_takes_more_seeds(finished: Path, tiny_gpt2: Path):
    output = finished / "output"
    first = (output / "seed-42" / "model.safetensors").stat()
    weights = (output / "seed-43" / "model.safetensors").read_bytes()
    (output / "seed-43" / "all_results.json").unlink()  # as if killed before it was evaluated
    flags = [*FLAGS, "--model_name_or_path", tiny_gpt2, "--num_seeds", 3, "--resume_from_checkpoint", "true"]
    forked.finish(*flags, cwd=finished)
    assert (output / "seed-42" / "model.safetensors").stat() == first, "not trained again"
    assert (output / "seed-43" / "model.safetensors").read_bytes() == weights, "resumed from its checkpoint"
    assert [run["seed"] for run in results_of(output)["seeds"]["runs"]] == [42, 43, 44]
    codes, printed = forked.train(*flags, "--weight_decay", 0.5, cwd=finished)
    assert codes == [2]
    assert "was begun with other settings:\n  weight_decay: 0.01 → 0.5" in printed
