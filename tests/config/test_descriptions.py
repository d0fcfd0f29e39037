"""`--label_descriptions` is JSON, a file, or a mapping in a recipe; mistakes in it are found before anything loads."""

import json
from pathlib import Path

import pytest

from hf_sentiment_ft.config.arguments import ModelArguments
from hf_sentiment_ft.config.command_line import parse_train_arguments
from hf_sentiment_ft.config.recipes import to_flags
from hf_sentiment_ft.errors import UsageError

GIVEN = {"refund": "the customer wants money back 🎬", "01": "1.10"}


def test_flag_files_recipe_and_python_say_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.json").write_text(json.dumps(GIVEN, indent="\t"))
    (tmp_path / "a.yaml").write_text("refund: the customer wants money back 🎬\n01: 1.10\n", encoding="utf-8")
    (tmp_path / "recipe.yaml").write_text(f"label_descriptions: {json.dumps(GIVEN, ensure_ascii=False)}")
    flags = [["--label_descriptions", given] for given in ("a.json", "a.yaml", json.dumps(GIVEN))]
    for argv in (*flags, ["recipe.yaml"], to_flags({"label_descriptions": GIVEN})):
        assert json.loads(str(parse_train_arguments(argv).model.label_descriptions)) == GIVEN, argv


def test_line_breaks_are_those_of_the_prompt_template():
    given = r'{"a": " one\\ntwo\nthree ", "b": "x"}'
    assert json.loads(str(ModelArguments(label_descriptions=given).label_descriptions))["a"] == "one\ntwo\nthree"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ('{"a": "b"', 'is \'{"a": "b"\', which is not valid JSON'),
        ('["a"]', "expected a mapping such as"),
        ("{}", "expected a mapping such as"),
        ('{"a": " "}', "has ' ' for label 'a'; expected what the label means, in words"),
        ('{"a": 1}', "has 1 for label 'a'"),
        ("nowhere.yaml", "'nowhere.yaml', which is neither a JSON object nor a file"),
        ("", "is '', which is neither"),
        ("bad.json", "the --label_descriptions file bad.json is not valid JSON"),
        ("bad.yaml", "cannot read the --label_descriptions file bad.yaml: it sets a twice"),
        ("latin.yaml", "cannot read the --label_descriptions file latin.yaml"),
        ("latin.json", "cannot read the --label_descriptions file latin.json"),
    ],
)
def test_what_cannot_be_read_is_named(given: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.json").write_text('{"a":')
    (tmp_path / "bad.yaml").write_text("a: x\na: y\n")
    for name in ("latin.json", "latin.yaml"):
        (tmp_path / name).write_bytes(b'{"a": "caf\xe9"}')
    with pytest.raises(UsageError) as refused:
        ModelArguments(label_descriptions=given)
    assert message in str(refused.value)
    assert "--label_descriptions" in str(refused.value)


def test_a_place_without_descriptions_is_refused():
    with pytest.raises(UsageError, match="but --label_descriptions is missing; add it"):
        ModelArguments(prompt_template="{label_descriptions}\n{text}:{label_word}")
