"""The named queries of ``sql/queries``."""

import re
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Final, LiteralString, cast

from client_manager import resources

_HEADER: Final = re.compile(r"^-- name: ([a-z][a-z0-9_]*)[ \t]*\n", re.MULTILINE)


@cache
def load(name: str) -> Mapping[str, LiteralString]:
    """Return the queries of ``sql/queries/<name>.sql`` by their names; parameters are written ``%(name)s``.

    The text comes with the program and never from outside, which is what ``LiteralString`` stands for.

    Raises:
        FileNotFoundError: there is no such file; a packaging fault.
        ValueError: a name occurs twice, or a query is empty.
    """
    _, *parts = _HEADER.split(resources.read_text("sql", "queries", f"{name}.sql"))
    names, texts = parts[::2], [text.strip().removesuffix(";") for text in parts[1::2]]
    bare = [query for query, text in zip(names, texts, strict=True) if not _statement(text)]
    if len(set(names)) < len(names) or bare:
        raise ValueError(f"sql/queries/{name}.sql: a name occurs twice, or {bare} are empty")
    return MappingProxyType({query: cast("LiteralString", text) for query, text in zip(names, texts, strict=True)})


def _statement(text: str) -> str:
    return re.sub(r"--.*", "", text).strip()
