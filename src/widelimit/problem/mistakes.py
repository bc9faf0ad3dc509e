"""Validation errors in words: the place in the file, what was found, what is allowed."""

import difflib
from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from widelimit.basics.errors import MOST_TOLD
from widelimit.basics.words import shown


def in_words(error: ValidationError, raw: Mapping[str, Any], model: type[BaseModel]) -> list[str]:
    """One sentence for each mistake in `raw`, the nested tables that `model` refused."""
    items = error.errors()
    told, rest = items[: 2 * MOST_TOLD], items[2 * MOST_TOLD :]  # some follow from others
    sentences = [_sentence(item, raw, model) for item in told if not _follows(item, told)]
    sentences += [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in rest]
    return list(dict.fromkeys(sentences))


def _follows(item: Any, items: list[Any]) -> bool:
    """A list is called too short when its entries were refused: the entries say it better."""
    loc = item["loc"]
    inside = any(other["loc"][: len(loc)] == loc and other is not item for other in items)
    return item["type"] == "too_short" and inside


def _sentence(item: Any, raw: Mapping[str, Any], model: type[BaseModel]) -> str:
    place = _place(item["loc"], raw)
    where = ".".join(place) or "the problem"
    kind, context = item["type"], item.get("ctx", {})
    if kind == "extra_forbidden":
        return f"{where}: unknown key; {_nearest(place[-1], _allowed_keys(item['loc'], model))}"
    if kind == "missing":
        return f"{where}: is missing; it is required"
    if kind == "value_error":
        message = str(context["error"])
        head, colon, rest = message.partition(": ")
        if colon and " " not in head:  # the validator names a place further inside
            return f"{where}.{head}: {rest}"
        return f"{where}: {message}"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        tag = context["discriminator"].strip("'")
        tags = _tags(item["loc"], model, tag)
        known = context.get("expected_tags") or ", ".join(map(repr, tags))
        if kind == "union_tag_not_found":
            return f"{where}.{tag}: is missing; one of {known}"
        nearest = difflib.get_close_matches(context["tag"], known.replace("'", "").split(", "), 1)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
        return f"{where}.{tag}: found {context['tag']!r}; the known ones are {known}{hint}"
    found = shown(item["input"]) if not isinstance(item["input"], Mapping) else "a table"
    return f"{where}: found {found}; {_allowed(kind, item['msg'])}"


def _place(loc: tuple, raw: Any) -> list[str]:
    """The path as the user wrote it: pydantic adds union tags and indices of its own."""
    place, here = [], raw
    for index, part in enumerate(loc):
        last = index == len(loc) - 1
        if isinstance(here, Mapping) and part in here:
            place.append(str(part))
            here = here[part]
        elif isinstance(part, int) and isinstance(here, list | tuple) and part < len(here):
            place[-1:] = [f"{place[-1]}[{part}]"] if place else [f"[{part}]"]
            here = here[part]
        elif isinstance(here, Mapping) and part in _texts(here):  # the tag of a union
            continue
        elif last and isinstance(part, str) and isinstance(here, Mapping):
            place.append(part)
    return place


def _texts(table: Mapping[str, Any]) -> list[str]:
    """The texts among a table's values: one of them tells which kind of table it is."""
    return [value for value in table.values() if isinstance(value, str)]


def _models(annotation: Any) -> list[type[BaseModel]]:
    """All models that an annotation mentions, however deeply it wraps them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    arguments = getattr(annotation, "__args__", ())
    return [model for argument in arguments for model in _models(argument)]


def _model_at(loc: tuple, model: type[BaseModel]) -> list[type[BaseModel]]:
    """The models that may stand at a place, narrowed by the union tags in it."""
    here = [model]
    for part in loc:
        fields = [m.model_fields[part] for m in here if part in m.model_fields]
        if fields:
            here = [m for field in fields for m in _models(field.annotation)]
        else:
            here = [m for m in here if part in _tag_values(m)] or here
    return here


def _tag_values(model: type[BaseModel]) -> list[str]:
    """What tells a model from its siblings: fields that may have one value, their default."""
    fields = model.model_fields.values()
    return [field.default for field in fields if get_args(field.annotation) == (field.default,)]


def _tags(loc: tuple, model: type[BaseModel], discriminator: str) -> list[str]:
    fields = [m.model_fields.get(discriminator) for m in _model_at(loc, model)]
    return list(dict.fromkeys(field.default for field in fields if field is not None))


def _allowed_keys(loc: tuple, model: type[BaseModel]) -> list[str]:
    return list(dict.fromkeys(k for m in _model_at(loc[:-1], model) for k in m.model_fields))


def _nearest(key: str, allowed: list[str]) -> str:
    close = difflib.get_close_matches(key, allowed, 1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"the known keys here are {', '.join(allowed)}"


_SENTENCES = {
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "dict_type": "must be a table",
    "tuple_type": "must be a list",
    "too_short": "must have at least 1 entry",
    "invalid_key": "keys must be text",
}
"""Where pydantic speaks of Python, what a problem file calls it."""


def _allowed(kind: str, message: str) -> str:
    """pydantic's own sentence with its first words made to follow a semicolon."""
    if kind in _SENTENCES:
        return _SENTENCES[kind]
    if message.startswith("Input should be "):
        return "must be " + message.removeprefix("Input should be ")
    return message[:1].lower() + message[1:]
