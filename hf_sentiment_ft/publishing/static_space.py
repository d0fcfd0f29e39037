"""Build the page of a static Space, which runs the model in the visitor's browser.

ONNX Runtime runs the weights in 8 bits, and a tokenizer in JavaScript gives the ids that Python's gives.
"""

import json
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..label_words.export import FOLDERS, onnx_probabilities
from .examples import evaluated_rows
from .repository import Content

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PAGE = Path(__file__).parent / "page"
REPORT = "report.html"
CDN = "https://cdn.jsdelivr.net/npm/"
# What the page loads besides the Space's own files: address, Subresource Integrity, bytes. Of other versions, the page
# would run nothing; tests/publishing/test_space_page.py compares them with the packages.
TOKENIZERS = (
    f"{CDN}@huggingface/tokenizers@0.2.0/dist/tokenizers.min.mjs",
    "sha384-Tl2lMbeE3RCGFLOUGQ7LhvaagysxiOw/9dulz2sD6jxNa1MckRJQBbYdVHhOoqEs",
)
ONNX_RUNTIME = (
    f"{CDN}onnxruntime-web@1.30.0/dist/ort.wasm.bundle.min.mjs",
    "sha384-PLWz+nHEVHpjwBsO0YVdvQj6n5814Iv8E3b8FG0Rp/uIAtjFMCKOpP66iPzedrIG",
)
WASM: dict[str, Any] = {
    "url": f"{CDN}onnxruntime-web@1.30.0/dist/ort-wasm-simd-threaded.wasm",
    "integrity": "sha384-vjBJ1z7qrhkTyYsNqKeF6c7N+nOJSU94czEo+tvZcu8G75JparGq9kB+kTnEUNVM",
    "size": 14239897,
}
# Texts that tokenizers read differently if they differ at all. The page answers only if its ids for these are Python's.
CHECKED_TEXTS = (
    "a moving, funny film",
    "",
    "  two  spaces \n\n line\r\n\tbreaks ",
    "don't, I'LL, 12345 3.14 — “quotes”",
    "café 🎬 👩‍👩‍👧 naïve ﬁ İ ｆｕｌｌ",
    "退款很慢。日本語のテキスト مرحبا بالعالم नमस्ते",
    "<|endoftext|> </s> <s> [PAD] <unk> <pad> <|im_end|>",
    "\u00a0\u200b\u0000 x",
    "long words " * 2000,
)
AGREEMENT_ROWS = 100


def static_files(folder: Path, values: dict[str, Any], model_id: str, model_page: str) -> dict[str, Content]:
    """Return the page, the model, and what the page knows about the model, by their path in the Space.

    Args:
        folder: Folder of the finished run, with the model in `onnx-int8`.
        values: Contents of the run's `card.json`.
        model_id: Published model, as `user/name`.
        model_page: URL of its page.
    """
    from transformers import AutoTokenizer

    onnx = folder / FOLDERS["int8"]
    tokenizer = AutoTokenizer.from_pretrained(onnx)
    model: dict[str, Content] = {
        "model/model.onnx": onnx / "model.onnx",
        "model/model.onnx.data": onnx / "model.onnx.data",
        "model/tokenizer.json": browser_tokenizer(tokenizer),
    }
    contents = {name: file if isinstance(file, bytes) else file.read_bytes() for name, file in model.items()}
    labels = list(json.loads((onnx / "config.json").read_text(encoding="utf-8"))["id2label"].values())
    about = {
        "labels": labels,
        "prompt": browser_prompt(tokenizer),
        "files": {name: {"size": len(b), "sha256": sha256(b).hexdigest()} for name, b in contents.items()},
        "runtime": WASM,
        "examples": [example["text"] for example in values.get("examples", [])],
        "checks": [{"text": text, "ids": tokenizer(text, truncation=True).input_ids} for text in CHECKED_TEXTS],
    }
    megabytes = (sum(map(len, contents.values())) + WASM["size"]) / 1e6
    shown: dict[str, Any] = {
        "title": model_id.split("/")[1],
        "model_id": model_id,
        "model_page": model_page,
        "labels": labels,
    }
    shown |= {"megabytes": round(megabytes), "agreement": agreement(folder, labels)}
    report: dict[str, Content] = {REPORT: folder / REPORT} if (folder / REPORT).is_file() else {}
    return {
        "index.html": _render(shown | {"has_report": bool(report)}).encode(),
        **{name: (PAGE / name).read_bytes() for name in ("style.css", "space.js")},
        "space.json": json.dumps(about, ensure_ascii=False).encode(),
        **report,
        **model,
    }


def _render(values: dict[str, Any]) -> str:
    """Fill the template of the page, whose policy allows no script and no address but those that it needs."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    addresses = {"tokenizers": TOKENIZERS[0], "onnxruntime": ONNX_RUNTIME[0]}
    import_map = json.dumps({"imports": addresses, "integrity": dict((TOKENIZERS, ONNX_RUNTIME))})
    own = b64encode(sha256(import_map.encode()).digest()).decode()
    policy = {
        "default-src": "'none'",
        "script-src": f"'self' 'wasm-unsafe-eval' 'sha256-{own}' {' '.join(addresses.values())}",
        "style-src": "'self'",
        # The Hub redirects to its storage for large files.
        "connect-src": f"'self' {WASM['url']} https://huggingface.co https://*.huggingface.co https://*.hf.co",
        "frame-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((PAGE / "index.html.jinja").read_text(encoding="utf-8"))
    fixed = {"policy": Markup("; ".join(f"{key} {value}" for key, value in policy.items()))}  # noqa: S704
    return template.render(values | fixed | {"import_map": Markup(import_map)})  # noqa: S704


def browser_tokenizer(tokenizer: "PreTrainedTokenizerBase") -> bytes:
    """Return the `tokenizer.json` of a tokenizer for the page, which adds the prompt itself.

    The JavaScript library reads neither the prompt in the post-processor, nor that control tokens in a text are text.
    """
    written = json.loads(tokenizer.backend_tokenizer.to_str())
    written |= dict.fromkeys(("post_processor", "truncation", "padding"))
    written["added_tokens"] = [token for token in written["added_tokens"] if not token["special"]]
    return json.dumps(written, ensure_ascii=False, separators=(",", ":")).encode()


def browser_prompt(tokenizer: "PreTrainedTokenizerBase") -> dict[str, Any]:
    """Return the ids around every text, and how long texts are truncated."""
    from ..label_words.prompt import read_prompt

    prompt = read_prompt(tokenizer)
    return {
        "beginning_ids": prompt.beginning_ids,
        "ending_ids": prompt.ending_ids,
        "max_length": tokenizer.model_max_length,
        "truncation_side": tokenizer.truncation_side,
    }


def agreement(folder: Path, labels: list[str]) -> dict[str, Any]:
    """Compare the model in 8 bits with the evaluated one, on up to 100 evenly spaced rows of the evaluation.

    Args:
        folder: Folder of the finished run.
        labels: Labels in the order of their ids.

    Returns:
        Number of `rows`, how many got the `same` label, and the `largest` difference of a probability.
    """
    import numpy as np

    rows = evaluated_rows(folder, AGREEMENT_ROWS)
    if not rows:
        return {"rows": 0}
    found = onnx_probabilities(folder / FOLDERS["int8"], [row["text"] for row in rows])
    expected = np.array([[float(row[f"probability_{label}"]) for label in labels] for row in rows])
    same = int((found.argmax(axis=1) == expected.argmax(axis=1)).sum())
    return {"rows": len(rows), "same": same, "largest": float(np.abs(found - expected).max())}
