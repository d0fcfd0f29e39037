"""Export a trained model as an ONNX graph, which answers without torch, transformers and this package.

The graph is that of the text classification model (see `classifier`), traced by transformers' own exporter.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError, explain, system_fault
from ..runtime.output_dir import refuse_foreign_files
from ..runtime.run_files import ONNX_FILES, begin_files, record_files

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedModel, PreTrainedTokenizerBase
    from transformers.exporters import ExportedModel

logger = logging.getLogger(__name__)

FOLDERS = {None: "onnx", "int8": "onnx-int8"}  # by --quantize
PACKAGES = ("onnx", "onnxruntime", "onnxscript", "transformers.exporters")


def export_onnx(folder: Path, quantize: str | None = None) -> Path:
    """Write a finished run as an ONNX model to a subfolder of the run's folder, and return that subfolder.

    The graph maps `input_ids` and `attention_mask`, (batch, sequence), to `logits`, (batch, num_labels), for any batch
    size and length. The subfolder also has a `tokenizer.json` that contains the prompt, truncates, and pads on the
    right; of the tokenizers library's settings, only `encode_special_tokens` has no place in it. Weights are in
    float32, whatever the run's are in.

    Before anything is written, ONNX Runtime answers a few texts in one padded batch.

    Args:
        folder: Folder of the finished run.
        quantize: `int8` for weights in 8 bit, which changes probabilities; None for float32.

    Raises:
        UsageError: If a package is missing, the folder does not contain a model trained by this package, the subfolder
            has files of others, the model has no exact classifier, or it cannot be exported.
    """
    import numpy as np

    from .classifier import TOLERANCE, TRIED_TEXTS, classifier_of
    from .model import load_label_word_model, predict_probabilities
    from .scoring import label_probabilities

    check_packages()
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder. Pass the output folder of a finished run.")
    refuse_foreign_files(folder, ONNX_FILES)
    loaded = load_label_word_model(str(folder))
    loaded.model.float()  # ONNX Runtime computes in bfloat16 hardly anywhere
    texts = list(TRIED_TEXTS)
    expected = predict_probabilities(loaded, texts, batch_size=1)
    classifier = classifier_of(loaded)
    batch = loaded.tokenizer(texts, padding=True, padding_side="right", return_tensors="pt")
    batch = {name: batch[name] for name in ("input_ids", "attention_mask")}  # (batch, sequence)
    exported = trace(classifier, batch)
    if quantize:
        quantize_weights(exported, classifier)
    difference = float(np.abs(label_probabilities(exported(**batch).logits.numpy()) - expected).max())
    if not difference <= (1 if quantize else TOLERANCE):  # written this way, it also refuses NaN
        raise UsageError(
            f"cannot export this {classifier.config.model_type} model to ONNX: its probabilities would differ by "
            f"{difference:.2g} (expected at most {TOLERANCE:.2g})."
        )
    target = folder / FOLDERS[quantize]
    begin_files(folder, ONNX_FILES)
    exported.save_pretrained(target)
    save_tokenizer(loaded.tokenizer, target)
    record_files(folder)
    logger.info("ONNX model saved in %s; on %d texts, its probabilities differ by up to %.2g from those of predict.",
                target, len(texts), difference)  # fmt: skip
    return target


def check_packages() -> None:
    """Refuse to export without the packages that an export needs.

    Raises:
        UsageError: If one of them is not installed.
    """
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise UsageError(
            f'the export needs {", ".join(missing)}; install it: pip install --upgrade "hf_sentiment_ft[onnx]".'
        )


def save_tokenizer(tokenizer: "PreTrainedTokenizerBase", folder: Path) -> None:
    """Save a tokenizer whose file truncates and pads by itself, as transformers does only when asked to.

    Args:
        tokenizer: Tokenizer that contains the prompt; changed in place.
        folder: Folder that it is saved to.
    """
    tokenizer.padding_side = "right"  # where padding does not shift any model's positions
    inner = tokenizer.backend_tokenizer
    inner.enable_truncation(tokenizer.model_max_length, direction=tokenizer.truncation_side)
    inner.enable_padding(direction="right", pad_id=tokenizer.pad_token_id, pad_token=tokenizer.pad_token)
    tokenizer.save_pretrained(folder)


def onnx_probabilities(folder: Path, texts: list[str]) -> "np.ndarray[Any, Any]":
    """Return the probabilities that an exported model gives, (rows, num_labels), by ONNX Runtime.

    Args:
        folder: Return value of `export_onnx`.
        texts: Texts, each of which is answered alone: in 8 bits, those in a batch would be rounded by one scale.
    """
    import numpy as np
    from onnxruntime import InferenceSession
    from tokenizers import Tokenizer

    from .scoring import label_probabilities

    tokenizer, session = Tokenizer.from_file(str(folder / "tokenizer.json")), InferenceSession(folder / "model.onnx")
    tokenizer.encode_special_tokens = True
    encoded = [tokenizer.encode(text) for text in texts]
    inputs = [{"input_ids": np.array([one.ids]), "attention_mask": np.array([one.attention_mask])} for one in encoded]
    return label_probabilities(np.concatenate([session.run(["logits"], each)[0] for each in inputs]))


def trace(classifier: "PreTrainedModel", batch: dict[str, Any]) -> "ExportedModel":
    """Trace a classifier as an ONNX graph for any batch size and length.

    Args:
        classifier: Return value of `classifier_of`; its config is changed in place.
        batch: Example inputs, (batch, sequence) each.

    Raises:
        UsageError: If torch or transformers cannot trace this architecture.
    """
    from torch.export import Dim
    from transformers.exporters import OnnxConfig, OnnxExporter

    classifier.config.architectures = [type(classifier).__name__]
    for config in (classifier.config, classifier.base_model.config):
        config.use_cache = False  # otherwise the keys and values of all layers would be outputs of the graph
    shape = {0: Dim("batch"), 1: Dim("sequence")}
    settings = OnnxConfig(dynamic=True, dynamic_shapes=dict.fromkeys(batch, shape))
    try:
        with _quietly():
            return OnnxExporter().export(classifier, dict(batch), settings)
    except (ImportError, RuntimeError, ValueError) as error:
        if isinstance(error, RuntimeError) and system_fault(error):
            raise
        raise UsageError(
            f"this {classifier.config.model_type} model cannot be exported to ONNX: {explain(error)}."
        ) from error


def quantize_weights(exported: "ExportedModel", classifier: "PreTrainedModel") -> None:
    """Quantize an exported classifier to int8 in place: dynamically, with one scale per channel of a weight.

    Two kinds of layers stay in float32: the label words' rows, and those that read more than the hidden state, which
    are the second layers of the MLPs. A few of the values that these read can be far larger than the others (Sun et al.
    2024, https://arxiv.org/abs/2402.17762), which then are rounded to nothing.

    Args:
        exported: Return value of `trace`.
        classifier: The model that was traced.
    """
    from transformers.exporters import ExportFormat, OnnxRuntimeDynamicConfig, OnnxRuntimeQuantizer

    hidden, labels = classifier.config.get_text_config().hidden_size, classifier.num_labels
    component = exported.components["model"]
    kept = [
        node.name
        for node in component.program.graph
        if node.op_type in ("MatMul", "Gemm") and (weight := node.inputs[1].const_value) is not None
        and (max(weight.shape) == weight.shape[0] > hidden or labels in weight.shape)
    ]  # fmt: skip
    kept += [f"{name}_MatMul" for name in kept]  # what ONNX Runtime makes of a Gemm before it quantizes
    settings = OnnxRuntimeDynamicConfig(per_channel=True, nodes_to_exclude=kept)
    with _quietly():
        component.program = OnnxRuntimeQuantizer(settings).quantize(component.program, {}, ExportFormat.ONNX)


@contextmanager
def _quietly() -> Iterator[None]:
    """Hide what torch and ONNX Runtime print and warn of in every export, whatever the model."""
    from transformers.utils import logging as transformers_logging

    loggers = logging.getLogger("torch.onnx"), logging.getLogger()  # the latter is ONNX Runtime's
    levels, verbosity = [each.level for each in loggers], transformers_logging.get_verbosity()
    for each in loggers:
        each.setLevel(logging.ERROR)
    transformers_logging.set_verbosity_error()
    try:
        with redirect_stdout(StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)
        transformers_logging.set_verbosity(verbosity)
