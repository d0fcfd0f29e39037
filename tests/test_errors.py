"""What a message says of an error: all of it, in one line, whatever raised it."""

import json

import pytest

from hf_sentiment_ft.errors import PublishError, UsageError, explain, system_fault
from hf_sentiment_ft.hub import refuse_if_it_fails


def test_a_librarys_message_is_put_on_one_line_and_not_cut():
    error = ValueError("the best model needs the same strategies, but found\n- Evaluation: NO\n- Save: STEPS.")
    assert explain(error) == (
        "ValueError: the best model needs the same strategies, but found - Evaluation: NO - Save: STEPS"
    )


def test_frames_of_torch_are_no_part_of_a_message():
    error = RuntimeError("no device\nException raised from f at a.cpp:1 (most recent call first):\nframe #0: g()")
    assert explain(error) == "RuntimeError: no device"


def test_errors_without_a_message_and_of_our_own():
    assert explain(TimeoutError()) == "TimeoutError"
    assert explain(KeyboardInterrupt()) == "interrupted"
    assert explain(PublishError("what is on the Hub differs:\n  a\n  b")) == "what is on the Hub differs:\n  a\n  b"


def test_a_failed_upload_is_explained_by_its_cause():
    error = RuntimeError("Error while uploading 'model.safetensors' to the Hub.")
    error.__cause__ = ConnectionError("reset by peer")
    expected = "RuntimeError: Error while uploading 'model.safetensors' to the Hub (ConnectionError: reset by peer)"
    assert explain(error) == expected


def test_a_rejected_card_is_explained_by_what_the_hub_objects_to():
    refusal = json.dumps({"errors": [{"message": "no such license."}, {"message": "no such language"}]})
    assert explain(ValueError(refusal)) == "no such license; no such language"


def test_all_lines_of_a_fault_are_shown():
    """NCCL says what went wrong in the last one."""
    fault = system_fault(RuntimeError("NCCL error: remote process exited\nLast error:\nsocket closed by 10.0.0.2"))
    assert fault is not None
    assert "(NCCL error: remote process exited Last error: socket closed by 10.0.0.2)" in fault


@pytest.mark.parametrize("error", [OSError("disk\nfull."), ImportError("No module named 'tiktoken'")])
def test_what_fails_is_refused_with_the_reason(error: Exception):
    with pytest.raises(UsageError) as refused, refuse_if_it_fails("no tokenizer could be loaded", ImportError):
        raise error
    said = {OSError: "OSError: disk full", ImportError: "ImportError: No module named 'tiktoken'"}[type(error)]
    assert str(refused.value) == f"no tokenizer could be loaded: {said}."
    assert refused.value.__cause__ is error


def test_a_mistake_in_our_own_code_is_not_hidden():
    with pytest.raises(KeyError), refuse_if_it_fails("no tokenizer could be loaded"):
        raise KeyError("x")
