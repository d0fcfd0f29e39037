"""Results in the Hub's newer form, `.eval_results/*.yaml`, for data sets that declare themselves benchmarks."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .data import LabelledSplits
    from .provenance import Provenance


def save_benchmark_result(
    provenance: "Provenance", data: "LabelledSplits", results: dict[str, Any], folder: Path
) -> None:
    """Write the test accuracy as a benchmark's result, if the data set is one and its whole test split was used."""
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml
    from yaml import safe_dump

    if provenance.dataset_id is None or provenance.benchmark_task is None or not _is_whole_test_split(data):
        return
    entry = EvalResultEntry(
        dataset_id=provenance.dataset_id,
        task_id=provenance.benchmark_task,
        value=results["test_accuracy"],
        dataset_revision=provenance.dataset_revision,
        notes="accuracy over the label words",
    )
    path = folder / ".eval_results" / f"{provenance.dataset_id.split('/')[-1]}.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(safe_dump(eval_result_entries_to_yaml([entry]), sort_keys=False), encoding="utf-8")


def _is_whole_test_split(data: "LabelledSplits") -> bool:
    """Whether the test rows are the data set's own, and all of them."""
    test = data.splits.get("test")
    if test is None or "test" in data.split_off or data.sources.get("test", "test") != "test" or not test.info.splits:
        return False
    return "test" in test.info.splits and test.info.splits["test"].num_examples == len(test)
