"""The base of every model, and the one way to turn text into a valid value."""

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from client_manager.errors import InvalidInput

T = TypeVar("T")


class Model(BaseModel):
    """A frozen model that accepts no unknown field."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def parse(kind: Any, value: object, *, what: str) -> Any:  # noqa: ANN401  an Annotated type is no type[T]
    """Return ``value`` as ``kind`` (a type of ``models.names``).

    Raises:
        InvalidInput: with the rule that it breaks.
    """
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        reasons = "; ".join(_plain(fault["loc"], fault["msg"]) for fault in error.errors())
        shown = f" {value!r}" if isinstance(value, str) else ""
        raise InvalidInput(f"This is not a valid {what}:{shown}", why=reasons, hint="") from None


def _plain(place: tuple[int | str, ...], message: str) -> str:
    """Return a fault in words: where it is, if that is a field, and the rule."""
    fields = ".".join(part for part in place if isinstance(part, str))
    return f"{fields}: {message.removeprefix('Value error, ')}".removeprefix(": ")
