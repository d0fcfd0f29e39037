"""The card: every number from the results, metadata that the Hub's own classes read back, code that runs."""

import ast
import json
import re
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from hf_sentiment_ft.publishing.card import MARKED_LINE, below_the_line, duration, render_card


def card_values(run_dir: Path) -> dict:
    return json.loads((run_dir / "card.json").read_text(encoding="utf-8"))


def numbers_in_results(results: dict) -> set[str]:
    """Every figure of the results, as the card would print it."""
    found: set[str] = set()

    def collect(value: object) -> None:
        if isinstance(value, dict):
            for inner in value.values():
                collect(inner)
        elif isinstance(value, list):
            for inner in value:
                collect(inner)
        elif isinstance(value, float):
            found.add(f"{value:.4f}")

    collect(results)
    return found


def test_every_figure_of_the_card_is_one_of_the_results(run_dir: Path, results: dict):
    body = (run_dir / "README.md").read_text(encoding="utf-8").split("## Data")[0].split("## Results")[1]
    figures = set(re.findall(r"\b\d\.\d{4}\b", body))
    assert len(figures) > 10
    assert figures <= numbers_in_results(results)


def test_results_are_read_back_by_the_hubs_own_class(run_dir: Path, results: dict):
    data = ModelCard.load(run_dir / "README.md").data
    read = {result.metric_name: result.metric_value for result in data.eval_results}
    assert read == {
        "Accuracy": results["test_accuracy"],
        "Generation accuracy": results["test_generation_accuracy"],
        "Macro F1": results["test_f1_macro"],
    }
    assert data.pipeline_tag == "text-generation"
    assert data.library_name == "transformers"
    assert data.language == ["en"], "as the dataset's card says"
    assert data.metrics == ["accuracy", "f1"]


def test_what_is_not_from_the_hub_is_not_claimed_to_be(run_dir: Path, tiny_gpt2: Path):
    """Model and data were folders: no base_model, no datasets, no licence that nobody stated, no path."""
    card = ModelCard.load(run_dir / "README.md")
    assert card.data.base_model is None
    assert card.data.datasets is None
    assert card.data.license is None
    assert "none is claimed here" in card.content
    assert str(tiny_gpt2.parent) not in card.content
    assert str(Path.home()) not in card.content


def test_nothing_is_left_to_fill_in(run_dir: Path):
    card = (run_dir / "README.md").read_text(encoding="utf-8")
    for placeholder in ("{{", "}}", "{%", "More information needed", "None", "[]", "nan"):
        assert placeholder not in card
    for section in ("How to use", "Results", "Data", "Training", "Limitations", "License"):
        assert f"## {section}" in card


def test_code_of_the_card_gives_a_label_word(run_dir: Path, capsys):
    """With the published name, which a test cannot load, replaced by the folder."""
    card = (run_dir / "README.md").read_text(encoding="utf-8")
    code = card.split("```python\n")[1].split("```")[0]
    name = card_values(run_dir)["model_name"]
    assert f'model="{name}"' in code
    exec(compile(code.replace(f'model="{name}"', f'model="{run_dir}"'), "card", "exec"), {})
    assert capsys.readouterr().out.strip() in ("negative", "positive")


def test_code_of_the_decision_model_prints_what_the_card_says(run_dir: Path, capsys):
    card = (run_dir / "README.md").read_text(encoding="utf-8")
    code = next(block.split("```")[0] for block in card.split("```python\n") if "decide = " in block)
    name = card_values(run_dir)["model_name"]
    code = "from transformers import pipeline\n" + code.replace(f'model="{name}"', f'model="{run_dir}"')
    exec(compile(code, "card", "exec"), {})
    printed = ast.literal_eval(capsys.readouterr().out)
    (said,) = (line for line in code.splitlines() if line.startswith("# {"))
    assert printed == pytest.approx(ast.literal_eval(said[2:].removesuffix(", rounded")), abs=1e-4)
    assert "A question of type `noul` gives the probability of `positive`." in card
    assert "decision-model" in ModelCard.load(run_dir / "README.md").data.tags


def test_a_refusing_decision_model_is_said_to_be_one(run_dir: Path):
    values = card_values(run_dir)
    decision = values["decision"] | {"refusal": "its prompt contains <s>. Use predict."}
    card = str(render_card(values | {"decision": decision}, "user/name"))
    assert '`pipeline("decision")` refuses this model: its prompt contains &#60;s&#62;. Use predict.' in card
    assert "decide = " not in card
    assert '"decision"' not in str(render_card(values | {"decision": None}, "user/name")), "an adapter"


def test_a_decision_model_of_many_labels_or_of_numbers(run_dir: Path):
    values = card_values(run_dir)
    decision = values["decision"] | {"labels": [str(label) for label in range(30)], "probabilities": {}, "true": None}
    card = str(render_card(values | {"decision": decision | {"levels": ["1", "2"]}}, "user/name"))
    assert "dict.fromkeys(decide.model.config.id2label.values())" in card
    assert "gives the expected\nlevel, counted from 0." in card
    assert "`noul`" not in card


def test_what_a_person_wrote_below_the_line_is_kept(run_dir: Path):
    values = card_values(run_dir)
    card = str(render_card(values, "user/name"))
    assert below_the_line(card) == ""
    edited = card + "\n## Our notes\n\nSee the wiki.\n"
    again = str(render_card(values, "user/name", below_the_line(edited)))
    assert again.split(MARKED_LINE)[1].strip() == "## Our notes\n\nSee the wiki."
    assert str(render_card(values, "user/name", below_the_line(again))) == again, "stable over many publications"


def test_without_a_test_split_the_card_says_so(run_dir: Path):
    values = card_values(run_dir) | {"test": {}, "zero_shot": {}, "majority_accuracy": None}
    card = str(render_card(values, "user/name"))
    assert "There is no test split" in card
    assert "used once" not in card


def test_duration_in_words():
    assert [duration(seconds) for seconds in (3.4, 75, 3700)] == ["3 s", "1 min 15 s", "1 h 1 min"]


def test_the_length_that_train_was_cut_to_is_what_the_model_can_read(run_dir: Path):
    """The flag says 512 by default, the tiny model reads 128."""
    assert "truncated on the left to 128 tokens" in (run_dir / "README.md").read_text(encoding="utf-8")
