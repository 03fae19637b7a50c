"""A database in the real Open WebUI 0.12.4 schema, filled from a fixed seed: the same rows on every machine."""

import json
import lzma
import random
import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

REAL: Final = Path(__file__).parents[2] / "src" / "client_manager" / "demo" / "webui-0.12.4.db.xz"
_SEED: Final = 7
_NOW: Final = 1_760_000_000
_AWKWARD: Final = (
    "alpha",
    "beta",
    "don't",
    '"quoted"',
    "na\u00efve",
    "\u65e5\u672c\u8a9e",
    "emoji\U0001f600",
    "line\nbreak",
    "tab\t",
    "back\\slash",
)
_VERSION: Final = 1  # of the generator: a cached database of another version is made again


@dataclass(frozen=True)
class Size:
    """How large the database is: ``scale`` 1 is 188,861 rows."""

    name: str
    scale: float


SIZES: Final = {"50": Size("50 MB", 0.085), "521": Size("521 MB", 1.0)}


def database(folder: Path, size: str) -> Path:
    """Return the database of a size, made where the folder does not hold it yet; nothing changes it afterwards."""
    path = folder / f"webui-{size}-v{_VERSION}.db"
    if not path.exists():
        draft = path.with_suffix(".draft")
        for left in folder.glob(f"{draft.name}*"):
            left.unlink()
        unpack(draft)
        _fill(draft, SIZES[size].scale)
        draft.rename(path)
    return path


def unpack(path: Path) -> None:
    """Write the real database, as a fresh Open WebUI 0.12.4 with a little use left it."""
    with lzma.open(REAL) as packed, path.open("wb") as target:
        shutil.copyfileobj(packed, target)


def _fill(path: Path, scale: float) -> None:
    connection = sqlite3.connect(path)
    try:
        connection.execute("PRAGMA synchronous = off")
        filling = _Filling(connection, scale)
        with connection:
            filling.run()
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        connection.close()


class _Filling:
    """One pass over the tables that grow in a tenant's life."""

    def __init__(self, connection: sqlite3.Connection, scale: float) -> None:
        self._connection = connection
        self._scale = scale
        self._random = random.Random(_SEED)  # noqa: S311  the same content every time is the point
        self._words = [*_AWKWARD, *(f"w{number}" for number in range(4000))]
        self._paragraphs = [self._text(self._random.randint(200, 3000)) for _ in range(3000)]

    def run(self) -> None:
        self._users = self._ids(1000)
        self._insert("user", self._user_rows())
        self._insert("auth", ((one, f"{one}@ex.com", f"$2b$12${self._id()}", 1) for one in self._users))
        self._insert("file", self._file_rows())
        chats = self._ids(5000)
        self._insert("chat", self._chat_rows(chats))
        self._insert("chat_message", self._message_rows(chats))
        self._insert("access_grant", self._grant_rows())
        self._insert("tag", self._tag_rows())

    def _text(self, length: int) -> str:
        words: list[str] = []
        total = 0
        while total < length:
            word = self._random.choice(self._words)
            words.append(word)
            total += len(word) + 1
        return " ".join(words)[:length]

    def _id(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128)))

    def _count(self, full: int) -> int:
        return int(full * self._scale)

    def _ids(self, full: int) -> list[str]:
        return [self._id() for _ in range(self._count(full))]

    def _insert(self, table: str, rows: Iterator[tuple[object, ...]]) -> None:
        names = _COLUMNS[table].split()
        places = ", ".join("?" * len(names))
        self._connection.executemany(
            f'INSERT INTO "{table}" ({", ".join(names)}) VALUES ({places})',  # noqa: S608  our own names
            rows,
        )

    def _user_rows(self) -> Iterator[tuple[object, ...]]:
        settings = json.dumps({"ui": {"theme": "dark"}})
        for one in self._users:
            yield one, self._text(12), f"{one}@ex.com", "user", "/user.png", _NOW, _NOW, _NOW, settings, "null"

    def _file_rows(self) -> Iterator[tuple[object, ...]]:
        for one in self._ids(10_000):
            content = json.dumps({"content": self._random.choice(self._paragraphs)})
            owner = self._random.choice(self._users)
            yield one, owner, self._text(20), '{"size": 1}', _NOW, self._id(), content, _NOW, f"/app/{one}"

    def _chat_rows(self, chats: list[str]) -> Iterator[tuple[object, ...]]:
        for one in chats:
            messages = {
                self._id(): {"role": "user", "content": self._random.choice(self._paragraphs), "timestamp": _NOW}
                for _ in range(self._random.randint(2, 40))
            }
            body = json.dumps({"history": {"messages": messages}})
            yield one, self._random.choice(self._users), self._text(30), _NOW, _NOW, None, 0, body, 0, "{}", _NOW

    def _message_rows(self, chats: list[str]) -> Iterator[tuple[object, ...]]:
        pick = self._random.choice
        for one in self._ids(100_000):
            content = json.dumps(pick(self._paragraphs))
            at = _NOW - self._random.randint(0, 10**7)
            role = pick(("user", "assistant"))
            yield one, pick(chats), pick(self._users), role, content, "gpt", 1, '{"total_tokens":12}', at, _NOW

    def _grant_rows(self) -> Iterator[tuple[object, ...]]:
        for one in self._ids(50_000):
            yield one, "model", self._id(), "user", self._random.choice(self._users), "read", _NOW

    def _tag_rows(self) -> Iterator[tuple[object, ...]]:
        for number in range(self._count(20_000)):
            yield f"tag{number}", f"Tag {number}", self._random.choice(self._users), "{}"


_COLUMNS: Final = {
    "user": "id name email role profile_image_url last_active_at updated_at created_at settings info",
    "auth": "id email password active",
    "file": "id user_id filename meta created_at hash data updated_at path",
    "chat": "id user_id title created_at updated_at share_id archived chat pinned meta last_read_at",
    "chat_message": "id chat_id user_id role content model_id done usage created_at updated_at",
    "access_grant": "id resource_type resource_id principal_type principal_id permission created_at",
    "tag": "id name user_id meta",
}
