"""What a search varies: flags of training, each with a range or with a list of values."""

import dataclasses
import itertools
import json
import textwrap
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from ..config.arguments import DEFAULT_PROMPT_TEMPLATE, Arguments, ModelArguments
from ..config.command_line import suggest
from ..config.recipes import read_recipe
from ..errors import UsageError
from ..label_words.auto_words import AUTO
from ..training.fingerprint import NOT_LEARNT, TRAINING_ARGUMENTS

if TYPE_CHECKING:
    from ..label_words.task import LabelWordTask

Space = dict[str, BaseDistribution]

# What may differ between trials on the same rows: what the weights depend on, apart from chance.
SEARCHABLE = {
    "per_device_train_batch_size", "gradient_accumulation_steps", "label_words", *TRAINING_ARGUMENTS,
    *(one.name for one in dataclasses.fields(ModelArguments) if one.name not in NOT_LEARNT),
} - {"seed", "data_seed", "dataloader_drop_last", "publish_adapter"}  # fmt: skip
PROMPTS = (
    DEFAULT_PROMPT_TEMPLATE,
    "\n{text}\nLabel:{label_word}",
    "\n{text}\nThis is{label_word}",
    "Text:\n{text}\nAnswer:{label_word}",
)


def default_space(flags: Arguments, given: Collection[str]) -> Space:
    """Return the ranges and values that are searched by default, around those that training has by default.

    Args:
        flags: Arguments of training.
        given: Names of the flags that the user gave, which are not searched.
    """
    rate, batch = flags.training.learning_rate, flags.training.per_device_train_batch_size
    space: Space = {
        "learning_rate": FloatDistribution(rate / 4, rate * 4, log=True),
        "per_device_train_batch_size": CategoricalDistribution([batch // 2, batch, batch * 2]),
        "num_train_epochs": CategoricalDistribution([1.0, 2.0, 3.0]),
        "weight_decay": CategoricalDistribution([0.0, 0.01, 0.1]),
        "label_smoothing_factor": CategoricalDistribution([0.0, 0.05, 0.1]),
        "prompt_template": CategoricalDistribution(PROMPTS),
        "label_words": CategoricalDistribution([None, AUTO]),
        "lora_r": CategoricalDistribution([8, 16, 32]),
    }
    fixed = set(given)
    fixed |= set() if flags.model.use_peft else {"lora_r"}
    fixed |= {"num_train_epochs"} if flags.training.max_steps > 0 else set()
    return {name: values for name, values in space.items() if name not in fixed}


def read_space(path: Path, parse: Callable[[dict[str, Any]], Arguments], known: list[str]) -> Space:
    """Read a search space, with lines such as `learning_rate: [1e-5, 2e-4, log]` and `weight_decay: [0, 0.1]`.

    Args:
        path: YAML file. A list that ends with `log` or `linear` is a range, any other list the values to choose from.
        parse: Function that parses all flags, of which it is given some.
        known: Names of all flags.

    Raises:
        UsageError: If the file cannot be read, names an unknown flag or one that cannot be searched, or has an empty
            range or an invalid value.
    """
    example = "learning_rate: [1e-5, 2e-4, log] or weight_decay: [0, 0.01, 0.1]"
    space: Space = {}
    for name, values in read_recipe(path, "search space", example).items():
        if name not in known:
            raise UsageError(f"{path} searches {name}, which is not a flag{suggest(str(name), known)}")
        if name not in SEARCHABLE:
            raise UsageError(
                f"{path} searches {name}, but trials may differ only in how the model is trained, not in the rows, the "
                f"metric or the seed. Remove it, and set --{name} on the command line."
            )
        if not isinstance(values, list) or not values:
            raise UsageError(f"{path}: {name} is {values}; expected a list of values or a range, as in {example}.")
        is_range = values[-1] in ("log", "linear")
        if is_range and len(values) != 3:
            raise UsageError(f"{path}: {name} is {values}; expected two numbers before {values[-1]}, as in {example}.")
        texts = [json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value for value in values]
        typed = [_typed(parse, name, value) for value in (texts[:2] if is_range else texts)]
        space[name] = _range(path, name, values, typed) if is_range else CategoricalDistribution(typed)
    return space


def _typed(parse: Callable[[dict[str, Any]], Arguments], name: str, value: Any) -> Any:
    """Return a value as its flag's type has it, which its flag has accepted."""
    found = value_of(parse({name: value}), name)
    return found if found is None or isinstance(found, bool | int | float | str) else value


def _range(path: Path, name: str, given: list[Any], ends: list[Any]) -> BaseDistribution:
    kind = IntDistribution if all(isinstance(end, int) for end in ends) else FloatDistribution
    try:
        return kind(low=ends[0], high=ends[1], log=given[-1] == "log")
    except (TypeError, ValueError) as error:
        raise UsageError(f"{path}: {name} is {given}, which is not a range: {error}") from error


def value_of(flags: Arguments, name: str) -> Any:
    """Return the value of a flag as plain data."""
    value = next(getattr(group, name) for group in flags if hasattr(group, name))
    return getattr(value, "value", value)  # of an enumeration


def fit_words(space: Space, build: Callable[[dict[str, Any]], "LabelWordTask"], by_default: bool) -> Space:
    """Check that all prompts go together with all label words, before the first trial.

    Args:
        space: Search space.
        build: Function that builds the prompt and the label words from changed model flags.
        by_default: Whether this is the default space, which then loses `auto` where it changes nothing, and prompts and
            words where there are several questions.

    Returns:
        The space.

    Raises:
        UsageError: If they do not, or a prompt is invalid.
    """
    searched = [name for name in ("prompt_template", "label_words", "label_descriptions") if name in space]
    if by_default and searched and build({}).questions:  # the prompts that are tried by default ask a single one
        return {name: values for name, values in space.items() if name not in searched}
    values = [space[name].choices for name in searched]  # type: ignore[attr-defined]
    words: dict[Any, list[Any]] = {}
    try:
        for combination in itertools.product(*values):
            changes = dict(zip(searched, combination, strict=True))
            words.setdefault(changes.get("label_words"), []).append(build(changes).verbalizer.words)
        changes_nothing = words.get(AUTO) == words.get(None)
    except UsageError:
        if not by_default or "label_words" not in space:
            raise
        changes_nothing = True
    if by_default and "label_words" in space and changes_nothing:
        return {name: values for name, values in space.items() if name != "label_words"}
    return space


def include_given(space: Space, flags: Arguments) -> tuple[Space, dict[str, Any]]:
    """Return the space, with the values of the flags as given among the choices, and these values: the first trial.

    The best trial is then never worse on validation than what was given. A range stays as it is.
    """
    first = {name: value_of(flags, name) for name in space}
    included = {
        name: CategoricalDistribution([first[name], *values.choices])
        if isinstance(values, CategoricalDistribution) and first[name] not in values.choices
        else values
        for name, values in space.items()
    }
    return included, first


def wrap(values: dict[str, Any], indent: str) -> list[str]:
    """Describe values in lines of at most 80 columns, which do not break within a value that fits on one."""
    return _wrap([f"{name} {show(value)}" for name, value in values.items()], indent)


def _wrap(items: list[str], indent: str) -> list[str]:
    lines = textwrap.wrap(
        ", ".join(item.replace(" ", "\0") for item in items),
        80,
        initial_indent=indent,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )
    return [line.replace("\0", " ") for line in lines]


def show(value: Any) -> str:
    """Format the value of a flag: a number by three digits, a text in quotes."""
    if value is None:
        return "default"
    return repr(value) if isinstance(value, str) else f"{value:.3g}" if isinstance(value, float) else str(value)


def describe_space(space: Space) -> list[str]:
    """Describe what is searched, one flag a line."""
    lines = []
    for name, values in space.items():
        if isinstance(values, CategoricalDistribution):
            lines += _wrap([f"{name}: {show(values.choices[0])}", *map(show, values.choices[1:])], "  ")
        elif isinstance(values, FloatDistribution | IntDistribution):
            lines.append(f"  {name}: {values.low:g} to {values.high:g}{', log scale' if values.log else ''}")
    return lines
