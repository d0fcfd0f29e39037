"""Try a trained model on a page in the browser: type a text, or label a whole table.

python -m hf_sentiment_ft.demo ./output
python -m hf_sentiment_ft.demo user/name

The page is also the whole `app.py` of a Gradio Space:

from hf_sentiment_ft.demo import build_demo

build_demo("user/name").launch()
"""

import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from html import escape
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import TYPE_CHECKING, Any

from .config.parser import Parser
from .errors import UsageError, errors_exit

if TYPE_CHECKING:
    import gradio as gr

    from .data.files import Row
    from .label_words.attribution import WordImportance
    from .label_words.model import LabelWordModel

BATCH_SIZE = 32
ROWS_AT_ONCE = 4 * BATCH_SIZE  # between two steps of the progress bar
NUM_EXAMPLES = 6
NUM_LABELS = 10  # with a bar; more labels make a long page
WORDS_AT_ONCE = 8  # texts without one of the words; few, since each may be as long as the model can read
MOST_PASSES, MOST_TOKENS = 32, 65_536  # through the model for one text, so that a long one takes a minute, not ten
# Types of table that are read, but not written.
WRITTEN_AS = {".txt": ".csv", ".json": ".jsonl"}
BLUE, ORANGE, GRAY = (37, 99, 235), (234, 88, 12), (107, 114, 128)
STRONG = 25  # percentage points of importance that get the full color
# Shows a page that can neither run scripts nor reach ours.
FRAME = '<iframe sandbox srcdoc="{}" title="Report" style="width: 100%; height: 85vh; border: 0"></iframe>'
READABLE = "<style>.dark .token.highlighted { color: white !important }</style>"  # Gradio writes black on dark colors


def build_demo(model: str, revision: str = "main", device: str | None = None) -> "gr.Blocks":
    """Load a model and build its page, which `launch()` opens.

    Gradio's analytics and its history of runs are off, and the page loads nothing from other servers.

    Args:
        model: Folder of a training run, or Hub id.
        revision: Branch, tag or commit on the Hub.
        device: Such as `cpu` or `cuda`; None for the GPU if there is one.

    Raises:
        UsageError: If Gradio is missing, or the model cannot be loaded.
    """
    if find_spec("gradio") is None:
        raise UsageError('the page is made with Gradio, which is not installed: pip install "hf_sentiment_ft[demo]".')
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_RUN_HISTORY": "False"}
    import gradio as gr
    from transformers.utils import logging

    from .label_words.attribution import word_importance
    from .label_words.model import load_label_word_model, place, predict_probabilities
    from .runtime.start import check_caches
    from .runtime.threads import use_cpu_threads

    use_cpu_threads()
    logging.disable_progress_bar()  # of loading the weights
    check_caches(model, None)
    loaded = load_label_word_model(model, revision)
    if loaded.questions:
        raise UsageError(
            f"the page shows the answer to one question, but {model} answers {', '.join(loaded.questions.names)}. Use "
            "hf_sentiment_ft.predict, or LabelWordClassifier in Python."
        )
    place(loaded, device)

    @contextmanager
    def errors_shown() -> Iterator[None]:
        try:
            yield
        except UsageError as error:
            raise gr.Error(escape(str(error)), duration=None, print_exception=False) from error

    def classify(text: str) -> dict[str, float]:
        with errors_shown():
            if not text.strip():
                raise UsageError("there is no text. Type or paste one first.")
            found = predict_probabilities(loaded, [text], batch_size=1)[0].tolist()
            return dict(zip(loaded.verbalizer.labels, found, strict=True))

    def find_words(text: str) -> list[tuple[str, str | None]]:
        passes = min(MOST_PASSES, MOST_TOKENS // len(loaded.tokenizer(text, truncation=True).input_ids))
        return marked(text, word_importance(loaded, text, batch_size=WORDS_AT_ONCE, max_passes=passes))

    def label_table(
        file: str | None,
        column: str,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - Gradio looks for it there
    ) -> tuple[str, dict[str, float]]:
        with errors_shown():
            if file is None:
                raise UsageError("there is no table. Upload one first.")
            return label_file(loaded, Path(file), column.strip(), progress.tqdm)

    one_at_a_time: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "model"}
    title, (usual_text, usual_columns) = model_name(model), expected(loaded)
    with gr.Blocks(title=title, delete_cache=(86_400, 86_400)) as page:  # uploaded files, after a day
        gr.Markdown(description(title, loaded.verbalizer.labels))
        with gr.Tab("A text"), gr.Row():
            with gr.Column():
                text = gr.Textbox(label="Text", placeholder=usual_text, lines=6, max_lines=20)
                ask = gr.Button("Classify", variant="primary")
                if examples := example_texts(model, revision):
                    gr.Examples(examples, text, label="Examples, from the texts that the model was tested on")
            with gr.Column():
                answer = gr.Label(label="Probability of each label", num_top_classes=NUM_LABELS)
                words = gr.HighlightedText(
                    label="Words that mattered, with the percentage points that each adds to the answer's probability",
                    color_map=colors(),
                )
        with gr.Tab("A table"), gr.Row():
            with gr.Column():
                table = gr.File(label="CSV, TSV, JSON lines, Parquet or text file, optionally compressed")
                column = gr.Textbox(label="Text column", placeholder=usual_columns, max_lines=1)
                label = gr.Button("Label all rows", variant="primary")
            with gr.Column():
                labelled = gr.File(label="The same table, with labels and probabilities", interactive=False)
                shares = gr.Label(label="Share of each label", num_top_classes=NUM_LABELS)
        report = Path(model) / "report.html"
        if report.is_file():
            with gr.Tab("How good it is"):
                gr.HTML(FRAME.format(escape(report.read_text(encoding="utf-8"))), padding=False)
        gr.HTML(READABLE, padding=False)

        answered = gr.on([ask.click, text.submit], classify, text, answer, **one_at_a_time)
        answered.success(find_words, text, words, **one_at_a_time)
        text.change(None, None, [answer, words], js="() => [{}, null]")  # answers of the text before
        label.click(label_table, [table, column], [labelled, shares], show_progress_on=labelled, **one_at_a_time)
    return page


def model_name(model: str) -> str:
    """Return the name of a model as its card has it, or else that of its folder or on the Hub."""
    card = Path(model) / "card.json"
    named = json.loads(card.read_text(encoding="utf-8")) if card.is_file() else {}
    return str(named.get("model_name") or (Path(model).resolve().name if Path(model).is_dir() else model))


def description(title: str, labels: list[str]) -> str:
    """Return the heading of the page, in Markdown."""
    from .publishing.markdown import code, escape

    named = ", ".join(code(name) for name in labels[:NUM_LABELS])
    more = f" and {len(labels) - NUM_LABELS} more" if len(labels) > NUM_LABELS else ""
    return (
        f"# {escape(title)}\n\nThis model reads a text and answers with one of {len(labels)} labels: {named}{more}. "
        "The bars show how sure it is; it can be wrong, even where it is sure."
    )


def expected(loaded: "LabelWordModel") -> tuple[str, str]:
    """Return what to type as a text, and which columns make a text if none is named: as the prompt has them."""
    from .config.templates import column_names, split_at_text

    text = split_at_text(loaded.model.config.prompt_template)[1]
    if text in ("", "{text}"):
        return "Type or paste a text", "text"
    return text, f"those of the prompt: {', '.join(column_names(text))}"


def example_texts(model: str, revision: str) -> list[list[str]]:
    """Return short texts of the test split, of different labels; empty if there are no predictions for it."""
    from transformers.utils import cached_file

    from .publishing.examples import short_examples

    absent = {"_raise_exceptions_for_missing_entries": False, "_raise_exceptions_for_connection_errors": False}
    file = cached_file(model, "test_predictions.csv", revision=revision, **absent)
    return [[example["text"]] for example in short_examples(Path(file), NUM_EXAMPLES)] if file else []


def marked(text: str, words: "list[WordImportance]") -> list[tuple[str, str | None]]:
    """Split a text into its words, each with its signed percentage points if it matters, and what is between them."""
    parts: list[tuple[str, str | None]] = []
    end = 0
    for word in words:
        points = round(100 * word.importance)
        parts += [(text[end : word.start], None), (text[word.start : word.end], f"{points:+d}" if points else None)]
        end = word.end
    return [part for part in (*parts, (text[end:], None)) if part[0]]


def colors() -> dict[str, str]:
    """Return the color of each importance: blue for the answer, orange against it, gray if it hardly matters."""

    def color(points: int) -> str:
        full, strength = BLUE if points > 0 else ORANGE, min(1, abs(points) / STRONG)
        mixed = (round(gray + strength * (most - gray)) for gray, most in zip(GRAY, full, strict=True))
        return "#" + "".join(f"{part:02x}" for part in mixed)

    return {f"{points:+d}": color(points) for points in range(-100, 101) if points}


def label_file(
    loaded: "LabelWordModel", path: Path, column: str, track: "Callable[..., Iterable[Row]]"
) -> tuple[str, dict[str, float]]:
    """Label the rows of an uploaded table as `hf_sentiment_ft.predict` does.

    Args:
        loaded: Trained model.
        path: The table, in a folder of its own.
        column: Column with the text, or several, such as `title,body`; empty for the usual one.
        track: Shows the progress of an iteration, like `tqdm`.

    Returns:
        The labelled table, of the same type, and the share of each label.

    Raises:
        UsageError: If the file is no such table, a row is damaged, or there is no text; the message is for the page.
    """
    from .data.files import TABLES, find_files, read_rows
    from .data.writing import write_rows
    from .label_words.labelling import label_rows
    from .predict import text_columns

    try:
        suffix = find_files("the upload", str(path), (*TABLES, ".txt"))[1]
        num_rows = sum(1 for _ in read_rows(str(path), suffix))  # finds damaged rows before the work
        if not num_rows:
            raise UsageError(f"{path.name} has no rows.")
        rows = read_rows(str(path), suffix)
        first = next(rows)
        columns = text_columns(first, column or None, loaded.model.config.prompt_template)
        output = Path(mkdtemp(dir=path.parent)) / output_name(path.name, suffix)
        labelled = label_rows(loaded, chain([first], rows), columns, BATCH_SIZE, path.name, rows_at_once=ROWS_AT_ONCE)
        counts: Counter[str] = Counter()

        def counted() -> "Iterator[Row]":
            for row in track(labelled, total=num_rows, desc="Labelling", unit="rows"):
                counts[row["prediction"]] += 1
                yield row

        write_rows(counted(), output, WRITTEN_AS.get(suffix, suffix), str)
    except UsageError as error:
        message = str(error).replace(f"{path.parent}/", "").replace("--text_column_name", 'the field "Text column"')
        raise UsageError(message) from error
    return str(output), {name: counts[name] / num_rows for name in loaded.verbalizer.labels}


def output_name(name: str, suffix: str) -> str:
    """Return the name of a labelled table, such as `labelled-reviews.csv.gz` for `reviews.csv.gz`."""
    stem, _, compression = name.rpartition(name[name.lower().rindex(suffix) :][: len(suffix)])
    return f"labelled-{stem}{WRITTEN_AS.get(suffix, suffix)}{'' if suffix == '.parquet' else compression}"


def build_parser() -> Parser:
    """Return the parser of this command."""
    parser = Parser(
        "demo", "Try a trained model on a page in the browser: type a text, or label a whole table.", "./output"
    )
    parser.add_argument("model", help="folder of a training run, or Hub id")
    parser.add_argument("--model_revision", default="main", help="branch, tag or commit on the Hub")
    parser.add_argument("--device", help="such as cpu or cuda (default: cuda if available, otherwise cpu)")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address; 0.0.0.0 for other computers, too (default: %(default)s)"
    )
    parser.add_argument("--port", type=int, help="port (default: the first free one from 7860)")
    parser.add_argument("--no_browser", action="store_true", help="only print the address")
    parser.add_argument(
        "--share", action="store_true", help="also open a temporary public address, through Gradio's servers"
    )
    return parser


def main() -> None:
    """Open the page of the model given on the command line, until it is interrupted."""
    with errors_exit(), TemporaryDirectory(prefix="hf_sentiment_ft_") as uploads:
        args = build_parser().parse_args(sys.argv[1:])
        os.environ["GRADIO_TEMP_DIR"] = uploads  # instead of a folder that all users share, and that stays
        page = build_demo(args.model, args.model_revision, args.device)
        try:
            _, address, shared = page.launch(
                server_name=args.host,
                server_port=args.port,
                inbrowser=not args.no_browser,
                share=args.share,
                prevent_thread_lock=True,
                quiet=True,
            )
        except OSError as error:
            raise UsageError(
                f"the page could not be opened at {args.host}, port {args.port or '7860 or later'}: the port is in "
                "use, or the address is not of this computer. Choose another --port or --host."
            ) from error
        print(f"The page is at {shared or address} until you press Ctrl-C.", flush=True)
        page.block_thread()


if __name__ == "__main__":
    main()
