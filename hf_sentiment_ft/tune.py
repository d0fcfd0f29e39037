r"""Search for better flags of training, or compare base models by training each of them.

    accelerate launch -m hf_sentiment_ft.tune --model_name_or_path gpt2 --train_file tickets.csv --num_trials 20

    accelerate launch -m hf_sentiment_ft.tune --model_name_or_path gpt2 HuggingFaceTB/SmolLM2-135M \
        --train_file tickets.csv

With one model, learning rate, batch size, epochs, prompt, label words and more are searched by validation alone, and
the best model is trained, evaluated and published as `hf_sentiment_ft.train` would. With several models, each is
trained by the same flags, and nothing is published. See docs/tune.md.
"""

import copy
import dataclasses
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from . import runtime
from .config.arguments import TRAINING_DEFAULTS, Arguments
from .config.command_line import parse_train_arguments, read_flags, train_parser
from .config.help import exit_with_help
from .config.recipes import read_recipe, to_flags
from .config.tune_arguments import NUM_TRIALS, TuneArguments
from .errors import UsageError, errors_exit
from .evaluate import folder_name
from .train import logger, train_once_or_more

# Not in the recipe of the best trial: where a run goes is not what it is.
NOT_IN_RECIPE = (
    "output_dir",
    "overwrite_output_dir",
    "push_to_hub",
    "hub_token",
    "dry_run",
    "max_tokens_per_microbatch",
)


def main() -> None:
    """Parse the flags and run; a user error ends without a traceback."""
    with errors_exit():
        models, tuning, given = parse_tune_arguments(sys.argv[1:])
        if len(models) > 1:
            compare(models, tuning, given)
        else:
            search(tuning, given)
        runtime.shutdown()


def parse_tune_arguments(argv: list[str]) -> tuple[list[str], TuneArguments, dict[str, Any]]:
    """Parse the flags of this command, with those of training as they are given.

    Args:
        argv: The command line, without the name of the program.

    Returns:
        The models, the arguments of the search, and the values of all other flags that are given, by name.

    Raises:
        UsageError: If a flag is unknown or a value is invalid.
        SystemExit: After printing the help for `--help` or `--help_all`.
    """
    exit_with_help("tune", argv)
    parser = train_parser(TuneArguments)
    for action in parser._actions:
        if action.dest == "model_name_or_path":
            action.nargs = "+"
    argv, names = read_flags(argv, parser)
    asked = vars(parser.parse_known_args(argv)[0])
    tuning = TuneArguments(**{one.name: asked[one.name] for one in dataclasses.fields(TuneArguments)})
    given = {name: asked[name] for name in asked if name in names and not hasattr(TuneArguments, name)}
    models = given.get("model_name_or_path", [])
    if len(set(map(folder_name, models))) < len(models):
        raise UsageError(f"--model_name_or_path names a model twice: {', '.join(models)}.")
    if models:
        given["model_name_or_path"] = models[0]
    resumed = str(given.get("resume_from_checkpoint", "false")).lower()
    if resumed not in ("true", "false"):
        raise UsageError(
            f"--resume_from_checkpoint is {given['resume_from_checkpoint']}, but what goes on here is not one run; use "
            "--resume_from_checkpoint true."
        )
    return models, tuning, given | {"resume_from_checkpoint": resumed}


def parse(given: dict[str, Any]) -> Arguments:
    """Parse the flags of one training."""
    return parse_train_arguments(to_flags(given))


def search(tuning: TuneArguments, given: dict[str, Any]) -> None:
    """Search for the best flags by validation, and train, evaluate and publish with these.

    Optuna is asked directly. Trainer's `hyperparameter_search` has its rows tokenized before it begins, but the prompt
    and the label words change how texts become tokens.

    Args:
        tuning: Arguments of the search.
        given: Values of the flags of training that are given, by name.

    Raises:
        UsageError: If Optuna is not installed, or something can be seen to fail before the first trial.
    """
    if not find_spec("optuna"):
        raise UsageError('a search needs Optuna, which is not installed. Run: pip install "hf_sentiment_ft[tune]"')
    given = {"metric_for_best_model": "log_loss"} | given  # accuracy is the same for many trials
    flags = parse(given)
    if flags.data.streaming:
        raise UsageError(
            "--streaming is given, but a search reads the train rows once for each trial. Search on a part of them, "
            'such as --train_split "train[:10000]", and then train with --streaming and the best flags.'
        )

    from . import data, label_words, model, publishing, training
    from .tuning import space as spaces
    from .tuning.study import Study
    from .tuning.trial import quiet, run_trial

    # 1. Check everything that can fail early.
    names = [action.dest for action in train_parser()._actions]
    if tuning.search_space:
        space = spaces.read_space(Path(tuning.search_space), lambda values: parse(given | values), names)
    else:
        space = spaces.default_space(flags, given)
    args = flags.training
    own = copy.copy(args)
    own.output_dir = str(Path(str(args.output_dir), "search"))
    resumed = given["resume_from_checkpoint"] == "true"
    own.resume_from_checkpoint = args.resume_from_checkpoint = "true" if resumed else None
    runtime.start(flags)
    data.check_files(flags.data)
    for one, written in ((args, runtime.RUN_FILES), (own, runtime.SEARCH_FILES)):
        models = [flags.model.model_name_or_path]
        runtime.check_output_dir(one, flags.run.overwrite_output_dir, models, written)
    base = model.find_model_to_train(flags.model)
    config = model.load_config(base, publish=args.push_to_hub)
    model.check_lora(flags.model, base.path, config, args)
    publishing.check_destination(flags, publishing.default_model_name(flags.model.model_name_or_path, flags.data.name))

    # 2. Load the rows, without those of test, and see that prompts and label words go together.
    with runtime.first_process_first(args, "loading the dataset"):
        rows = data.load_splits(flags.data, args.seed, flags.model.label_words)
    rows.splits = {split: rows.splits[split] for split in ("train", "validation")}
    with quiet():
        space = spaces.fit_words(
            space,
            lambda changes: label_words.build_task(parse(given | changes).model, base, config, rows),
            by_default=tuning.search_space is None,
        )
    space, first = spaces.include_given(space, flags)
    num_trials = tuning.num_trials or NUM_TRIALS
    logger.info("\nSearch: %d trials by %s on validation", num_trials, args.metric_for_best_model)
    logger.info("%s", "\n".join(spaces.describe_space(space)))
    if flags.run.dry_run:
        train_once_or_more(to_flags(given), parse(given))
        return

    # 3. Ask for values on the first process, and train with them on all, until there are enough trials.
    runtime.begin_run(own, runtime.SEARCH_FILES)
    metric = {"metric": args.metric_for_best_model, "greater_is_better": args.greater_is_better}
    folder, study = Path(own.output_dir), None
    if args.process_index == 0:
        study = Study(folder, space, first, training.settings_of(flags) | metric, args.seed)
    logger.info("To go on after a kill, add --resume_from_checkpoint true to the same command.")
    shared = given | {"push_to_hub": False, "max_tokens_per_microbatch": flags.run.max_tokens_per_microbatch}
    while values := runtime.from_first_process(
        args, "choosing values", lambda: study and study.ask(num_trials, tuning.max_hours)
    ):
        outcome = run_trial(
            parse(shared | values),
            base,
            config,
            rows,
            lambda quarter, value: runtime.from_first_process(
                args, "comparing trials", lambda: bool(study and study.report(quarter, value))
            ),
        )
        runtime.return_freed_memory()
        if study:
            study.tell(outcome)

    # 4. Save the best flags as a recipe, and train with them into the output folder.
    def choose() -> tuple[dict[str, Any], bool, dict[str, Any] | None]:
        assert study is not None
        best = given | study.best.params
        print("", *study.table(), "", study.sentence(), sep="\n")
        recipe = {name: value for name, value in best.items() if name not in (*NOT_IN_RECIPE, "resume_from_checkpoint")}
        return best, save_recipe(folder / "best.yaml", recipe, study.sentence()), study.summary()

    best, same, summary = runtime.from_first_process(args, "choosing the best trial", choose)
    goes_on = resumed and same
    best |= {"resume_from_checkpoint": str(goes_on).lower(), "overwrite_output_dir": not goes_on}
    argv = to_flags(best)
    train_once_or_more(argv, parse_train_arguments(argv), summary)


def save_recipe(path: Path, recipe: dict[str, Any], about: str) -> bool:
    """Save a recipe, and return whether it was there already."""
    import yaml

    before = read_recipe(path) if path.is_file() else None
    text = yaml.safe_dump(recipe, allow_unicode=True, sort_keys=False, width=120)
    usage = "accelerate launch -m hf_sentiment_ft.train best.yaml --output_dir FOLDER"
    path.write_text(f"# {about}\n# {usage}\n{text}", encoding="utf-8")
    return read_recipe(path) == before


def compare(models: list[str], tuning: TuneArguments, given: dict[str, Any]) -> None:
    """Train each of several models by the same flags, and compare them.

    Args:
        models: The models.
        tuning: Arguments of a search, none of which may be given.
        given: Values of the flags of training that are given, by name.

    Raises:
        UsageError: If a flag does not work with several models, or a model cannot be trained.
    """
    for one in dataclasses.fields(TuneArguments):
        if getattr(tuning, one.name) is not None:
            raise UsageError(
                f"--{one.name} is given, but a search is for one model. Compare the models without it, and then search "
                "with the best one."
            )
    if given.get("push_to_hub"):
        raise UsageError(
            "--push_to_hub is given, but which of several models to publish is your choice. Remove it, and publish one "
            "afterwards: python -m hf_sentiment_ft.publish OUTPUT_DIR/NAME."
        )
    from .tuning.base_models import compare_base_models

    output_dir = Path(str(given.get("output_dir", TRAINING_DEFAULTS["output_dir"])))
    own = {name: given | {"model_name_or_path": name, "output_dir": output_dir / folder_name(name)} for name in models}
    compare_base_models(parse(given), {name: to_flags(flags) for name, flags in own.items()}, train_once_or_more)


if __name__ == "__main__":
    main()
