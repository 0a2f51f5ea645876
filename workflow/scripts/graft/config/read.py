"""Reading the config: from Snakemake's merged mapping to checked settings, or one clear error."""

import re
import types
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from graft.config import checks
from graft.config.datasets import LAYOUTS, Dataset, Merged
from graft.config.models import Config
from graft.config.types import FILE_NAME, Settings
from graft.core.errors import GraftError, nearest

_KINDS = {
    "bool_type": "true or false",
    "dict_type": "a mapping of keys to values",
    "finite_number": "a number",
    "float_type": "a number",
    "int_type": "a whole number",
    "model_type": "a mapping of keys to values",
    "string_type": "text",
    "tuple_type": "a list",
}
_BOUNDS = {
    "greater_than": ("gt", "above {}"),
    "greater_than_equal": ("ge", "at least {}"),
    "less_than": ("lt", "below {}"),
    "less_than_equal": ("le", "at most {}"),
    "too_short": ("min_length", "a list of at least {}"),
    "too_long": ("max_length", "a list of at most {}"),
    "string_too_short": ("min_length", "a text of at least {} character"),
}


_QUOTE = ' (YAML reads yes, no, on, off, null, numbers and dates as other values: quote it, "yes")'


def read_config(raw: Mapping[str, object]) -> Config:
    """The config, complete and consistent.

    A key that is null is left out, unless null is a value of it: so an overlay removes keys.
    Raises GraftError, one sentence that names the key and one that says what to do.
    """
    _check_keys(raw, "")
    data: Any = _without_nulls(raw, [Config])
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        raise GraftError(_sentence(error.errors(), data)) from None
    checks.check(config)
    return config


def _check_keys(value: object, place: str) -> None:
    """YAML reads keys such as 1 and yes as numbers and truth values, which are no names."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            _check_keys(item, f"{place}.{index}".lstrip("."))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise GraftError(
                    f"config: {place or 'the top level'} has the key {key!r}, which YAML does not "
                    "read as text. Quote it."
                )
            _check_keys(item, f"{place}.{key}".lstrip("."))


def _without_nulls(value: object, kinds: Sequence[Any]) -> object:
    """Leave out keys that are null where null is no value of theirs; unknown keys stay.

    `kinds` are the types that the value may have.
    """
    if not isinstance(value, Mapping):
        return value
    kept = {}
    for key, item in value.items():
        inner = [member for kind in kinds for member in _types_of(kind, key)]
        if item is not None or not inner or type(None) in inner:
            kept[key] = _without_nulls(item, inner)
    return kept


def _types_of(kind: Any, key: str) -> Iterator[Any]:
    """The types that the value of a key may have in a mapping of the type `kind`."""
    if get_origin(kind) is dict:
        yield from _alternatives(get_args(kind)[1])
    elif isinstance(kind, type) and issubclass(kind, Settings) and key in kind.model_fields:
        yield from _alternatives(kind.model_fields[key].annotation)


def _alternatives(annotation: Any) -> Iterator[Any]:
    """The members of a union, without what annotates them."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _alternatives(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from _alternatives(member)
    else:
        yield annotation


def _sentence(errors: Sequence[ErrorDetails], data: Mapping[str, Any]) -> str:
    """One error of several: an unknown key first, since it explains the missing one; of several
    forms that a value may have, the one that it is nearest to."""
    placed = [(_path(error["loc"], data), error) for error in errors]
    unknown = [item for item in placed if item[1]["type"] == "extra_forbidden"]
    first, _ = min(unknown or placed, key=lambda item: list(map(str, item[0])))
    below = [item for item in unknown or placed if item[0][: len(first)] == first]
    path, error = max(below, key=lambda item: (len(item[0]), item[1]["type"] == "missing"))
    alike = [other for place, other in placed if place == path]
    return f"config: {_problem(path, error, alike)}"


def _path(location: Sequence[int | str], data: Any) -> list[int | str]:
    """The keys of an error's location: what pydantic adds about unions and tags is left out."""
    path: list[int | str] = []
    for part in location:
        held = isinstance(data, Mapping) and part in data
        listed = isinstance(data, list) and isinstance(part, int) and part < len(data)
        if held or listed:
            data = data[part]
            path.append(part)
    return path


def _problem(path: Sequence[int | str], error: ErrorDetails, alike: Sequence[ErrorDetails]) -> str:
    """What is wrong at a key, and what to do; `alike` are all errors there."""
    place, value = ".".join(map(str, path)), error["input"]
    choices = [choice for e in alike if e["input"] == value for choice in _choices(e)]
    match error["type"]:
        case "extra_forbidden":
            problem = _unknown_key(place, error)
        case "missing":
            key = f"{place}.{error['loc'][-1]}".lstrip(".")
            problem = f"{key} is missing. Add it (config/README.md documents it)."
        case "union_tag_not_found":
            problem = _without_layout(place, value)
        case "union_tag_invalid":
            layout = value["layout"]
            problem = f"{place}.layout is {layout!r}. {nearest(str(layout), LAYOUTS)}"
        case "string_pattern_mismatch" if error["loc"][-1] == "[key]":
            above = ".".join(map(str, path[:-1]))
            problem = f"{value!r} under {above} is not a usable name. {_usable(value, error)}"
        case "string_pattern_mismatch":
            digits = 64 if "64" in error["ctx"]["pattern"] else 32
            problem = f"{place} is {value!r}. Give {digits} hexadecimal digits in lower case."
        case kind if choices and (isinstance(value, str) or kind not in _BOUNDS):
            problem = f"{place} is {value!r}. {nearest(str(value), dict.fromkeys(choices))}"
        case kind if kind in _BOUNDS:
            name, form = _BOUNDS[kind]
            problem = f"{place} is {value!r}. Give {form.format(error['ctx'][name])}."
        case kind if kind in _KINDS:
            problem = f"{place} is {value!r}. Give {_wanted(alike, value)}."
        case _:
            reason = error["msg"].removeprefix("Value error, ")
            problem = f"{place} is {value!r}: {reason}. Correct it (see config/README.md)."
    return problem


def _usable(name: str, error: ErrorDetails) -> str:
    """What to call a thing whose name has other characters than its pattern allows."""
    if error["ctx"]["pattern"] != FILE_NAME:
        return "Use letters, digits and _."
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    parts = [part.strip("_") for part in re.sub(r"[^A-Za-z0-9.-]+", "_", plain).split(".")]
    usable = ".".join(filter(None, parts)).lstrip("-") or "archive.zip"
    return (
        f"Use letters, digits, '.', '_' and '-': write {usable} here, and the file's own name in "
        f"its url, or rename the file to {usable} too."
    )


def _choices(error: ErrorDetails) -> list[str]:
    if error["type"] != "literal_error":
        return []
    return [text.strip("'") for text in error["ctx"]["expected"].replace(" or ", ", ").split(", ")]


def _wanted(alike: Sequence[ErrorDetails], value: object) -> str:
    """What a key takes, in words, with a hint for the commonest mistakes."""
    names = dict.fromkeys(_KINDS[e["type"]] for e in alike if e["type"] in _KINDS)
    if "a number" in names:
        names.pop("a whole number", None)
    hint = ""
    written = isinstance(value, str | dict | list)
    if "a list" in names and not isinstance(value, dict | list):
        hint = f" (for example [{value}])" if written or not isinstance(value, bool) else _QUOTE
    elif "text" in names and not written:
        hint = _QUOTE
    elif isinstance(value, str) and {"a number", "a whole number"} & set(names):
        hint = " (YAML reads 5e-4 as text: write 0.0005; --config '{...}' makes all values text)"
    return f"{' or '.join(names)}{hint}"


def _unknown_key(place: str, error: ErrorDetails) -> str:
    above, _, key = place.rpartition(".")
    if "<merge>" in error["loc"] and key in ("layout", "files", "label", "options"):
        return (
            f"{above} has both merge and {key}, which the merged data sets have each of their own. "
            "Leave one of them out."
        )
    model = _model_at(error["loc"][:-1])
    known = sorted(model.model_fields) if model else []
    return f"{place} is not a known key. {nearest(key, known)}"


def _model_at(location: Sequence[int | str]) -> type[Settings] | None:
    """The settings class at an error's location."""
    kinds: list[Any] = [Config]
    for part in location:
        inner: list[Any] = []
        for kind in kinds:
            if isinstance(part, str) and part.startswith("<"):
                tagged = LAYOUTS.get(part.strip("<>"), Merged)
                inner += [kind] if kind is tagged else []
            elif get_origin(kind) is dict:
                inner += _alternatives(get_args(kind)[1])
            elif get_origin(kind) is tuple:
                inner += _alternatives(get_args(kind)[0])
            elif isinstance(kind, type) and issubclass(kind, Settings):
                if part in kind.model_fields:
                    inner += _alternatives(kind.model_fields[str(part)].annotation)
                elif part == kind.__name__:
                    inner.append(kind)
        kinds = inner or kinds
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, Settings):
            return kind
    return None


def _without_layout(place: str, value: Any) -> str:
    """A data set with neither `layout` nor `merge`: misspelt, or missing."""
    if not isinstance(value, Mapping):
        return f"{place} is {value!r}. Give a mapping of keys to values."
    models: list[type[Dataset]] = [*LAYOUTS.values(), Merged]
    known = sorted({name for model in models for name in model.model_fields})
    for key in value:
        if key not in known:
            return f"{place}.{key} is not a known key. {nearest(key, known)}"
    return f"{place}.layout is missing. Add it, or name the data sets to merge in {place}.merge."
