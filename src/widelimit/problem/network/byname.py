"""What a problem file asks for by a name or by a table, and Python by an object of one's own."""

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, WrapValidator


def by_name(key: str, own: type[BaseModel]) -> WrapValidator:
    """Reads a part that tables call by its `key`: a name stands for its table.

    What is an `own` already, one of the user's too, is taken as it is.
    """

    def written_out(value: Any, known: Callable[[Any], Any]) -> Any:
        if isinstance(value, own):
            return value
        return known({key: value} if isinstance(value, str) else value)

    return WrapValidator(written_out)


def table_of(key: str, part: BaseModel) -> Any:
    """The table of a part, or one of the user's own as it is."""
    return part.model_dump() if key in type(part).model_fields else part
