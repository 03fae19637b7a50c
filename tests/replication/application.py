"""The application: a process of its own that has the database open, as Open WebUI has.

It must be one: a process that closes a file loses its locks on it, and its own locks are nothing that it can see.
"""

import pickle
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Self


class Application:
    """Speaks to the process. Leaving the ``with`` closes the database as the application does at its end."""

    def __init__(self, path: Path, *pragmas: str) -> None:
        self.path = path
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for pragma in pragmas:
            self.run(f"PRAGMA {pragma}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, statement: str, parameters: Sequence[object] = ()) -> list[Any]:
        """Run one statement and return its rows."""
        rows: list[Any] = self._ask("run", statement, parameters)
        return rows

    def many(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        """Run one statement for many rows, in one transaction."""
        self._ask("many", statement, rows)

    def script(self, text: str) -> None:
        """Run many statements, each in a transaction of its own unless the text says otherwise."""
        self._ask("script", text, ())

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self.run("BEGIN IMMEDIATE")
        yield
        self.run("COMMIT")

    def close(self) -> None:
        """End the process in order; the last close of a database deletes its log."""
        self._end(kill=False)

    def kill(self) -> None:
        """End the process at once; its log stays."""
        self._end(kill=True)

    def _end(self, *, kill: bool) -> None:
        if kill:
            self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()
        self._process.wait()

    def _ask(self, *question: object) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        pickle.dump(question, self._process.stdin)
        self._process.stdin.flush()
        answer = pickle.load(self._process.stdout)  # noqa: S301  from our own child
        if isinstance(answer, Exception):
            raise answer
        return answer


def _serve(path: str, questions: BinaryIO, answers: BinaryIO) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    actions: dict[str, Callable[..., Any]] = {
        "run": lambda text, values: connection.execute(text, values).fetchall(),
        "many": lambda text, rows: _many(connection, text, rows),
        "script": lambda text, _: connection.executescript(text) and None,
    }
    while True:
        try:
            action, text, values = pickle.load(questions)  # noqa: S301  from our own parent
        except EOFError:
            break
        try:
            answer = actions[action](text, values)
        except sqlite3.Error as error:
            answer = type(error)(*error.args)
        pickle.dump(answer, answers)
        answers.flush()
    connection.close()


def _many(connection: sqlite3.Connection, text: str, rows: Sequence[Sequence[object]]) -> None:
    connection.execute("BEGIN")
    connection.executemany(text, rows)
    connection.execute("COMMIT")


if __name__ == "__main__":
    _serve(sys.argv[1], sys.stdin.buffer, sys.stdout.buffer)
