"""Write docs/reference.md: every command, setting and exit code, out of the program itself."""  # noqa: INP001  a script, run by its path

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import typer.main

from client_manager.cli import app
from client_manager.commands.examples import EXAMPLES, call
from client_manager.errors import ExitCode
from client_manager.settings import Settings

PAGE: Final = Path(__file__).with_name("reference.md")
_EXIT_CODES: Final = PAGE.with_name("exit-codes.md")
_PROGRAM: Final = "client-manager"
# What differs from machine to machine, or from version to version, in words.
_IN_WORDS: Final = {
    "postgres_dir": "`~/.local/share/client-manager/postgres`; for root `/var/lib/client-manager/postgres`",
    "docker_host": "`DOCKER_HOST`, else `unix:///var/run/docker.sock`",
    "state_dir": "`~/.local/state/client-manager`",
    "cluster": "the machine's name",
    "node_image": "`client-manager/sync-node:<version>`",
}
SETTINGS: Final = (
    "In `~/.config/client-manager/config.toml`, or the file that `CLIENT_MANAGER_CONFIG` names, as `name = value`; "
    "a variable `CLIENT_MANAGER_<NAME>` wins over the file. Durations are in seconds, sizes in bytes."
)
_NAMES: Final = {
    "AbsolutePath": "absolute path", "Path": "absolute path", "str": "text", "int": "whole number",
    "float": "number", "SecretStr": "text, secret", "IPvAnyNetwork": "network",
}  # fmt: skip


def render() -> str:
    """Return the page."""
    blocks = [
        "# Reference",
        "Made by `docs/make_reference.py` from the program; a test keeps it equal. By task: [guide.md](guide.md).",
        "## Commands",
        *_commands(typer.main.get_command(app), ()),
        "## Settings",
        SETTINGS,
        _table(("name", "type", "default", "meaning"), settings()),
        "## Exit codes",
        _table(("code", "name", "meaning"), exit_codes()),
        "More, and the exceptions: [exit-codes.md](exit-codes.md).",
    ]
    return "\n\n".join(blocks) + "\n"


def commands() -> dict[tuple[str, ...], Any]:
    """Return every command and group by its words, the program itself by none."""
    return dict(_walk(typer.main.get_command(app), ()))


def _walk(command: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:  # noqa: ANN401  typer's own
    yield words, command
    for name, below in getattr(command, "commands", {}).items():
        yield from _walk(below, (*words, name))


def _commands(program: Any, words: tuple[str, ...]) -> Iterator[str]:  # noqa: ANN401
    for path, command in _walk(program, words):
        group = hasattr(command, "commands")
        yield f"{'###' if len(path) < 2 else '####'} {' '.join((_PROGRAM, *path))}"  # noqa: PLR2004
        yield one_line(command.help or "")
        if not group:
            yield f"    {usage(path, command)}"
        rows = [
            (", ".join(f"`{name}`" for name in names), value, _cell(said)) for names, value, said in parameters(command)
        ]
        if rows:
            yield _table(("argument or option", "value", "meaning"), rows)
        shown = examples(path)
        if shown:
            yield "\n".join(f"    {example}  # {why}" for example, why in shown)


def examples(path: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return the examples of a command, each as it is typed, and what it is good for."""
    return [(call(words), why) for words, why in EXAMPLES.get(" ".join(path), ())]


def parameters(command: Any) -> list[tuple[list[str], str, str]]:  # noqa: ANN401
    """Return the names of each argument or option of a command, what is given for it, and what it means."""
    return [
        (
            [each.name.upper()] if each.param_type_name == "argument" else [*each.opts, *each.secondary_opts],
            _value(each),
            one_line(each.help or ""),
        )
        for each in command.params
        if not each.hidden
    ]


def usage(path: tuple[str, ...], command: Any) -> str:  # noqa: ANN401
    """Return a command with its arguments, and the options that it cannot do without."""
    words = [_PROGRAM, *path]
    for each in command.params:
        if each.hidden or (each.param_type_name == "option" and not each.required):
            continue
        word = f"{each.opts[0]} {each.name.upper()}" if each.param_type_name == "option" else each.name.upper()
        word += "..." if each.nargs == -1 else ""
        words.append(word if each.required else f"[{word}]")
    return " ".join([*words, "[OPTIONS]"])


def _value(parameter: Any) -> str:  # noqa: ANN401
    """Return what is given, and what it is where nothing is."""
    if getattr(parameter, "is_flag", False):
        return "flag"
    shape = _shape(parameter)
    if parameter.required:
        return f"{shape}; required"
    return shape if parameter.default is None else f"{shape}; default {parameter.default}"


def _shape(parameter: Any) -> str:  # noqa: ANN401
    annotation = parameter.type_descriptor.annotation
    choices = re.findall(r"'([^']+)'", str(annotation)) if "Literal" in str(annotation) else []
    shape = " or ".join(f"`{choice}`" for choice in choices)
    shape = shape or _NAMES.get(getattr(annotation, "__name__", ""), "text").replace("absolute path", "path")
    low, high = getattr(parameter, "min", None), getattr(parameter, "max", None)
    if low is not None:
        shape += f", at least {low}"
    if high is not None:
        shape += f", at most {high}"
    return shape


def settings() -> Iterator[tuple[str, ...]]:
    """Give each setting: its name, type, default and meaning."""
    meanings = dict(re.findall(r"^ +(\w+): (.+)$", Settings.__doc__ or "", re.MULTILINE))
    for name, field in Settings.model_fields.items():
        yield f"`{name}`", _kind(field.annotation), _default(name, field), _cell(meanings[name].replace("``", "`"))


def _kind(annotation: Any) -> str:  # noqa: ANN401  a type
    if str(annotation).startswith("tuple"):
        return "two ports"
    found = [word for word in re.findall(r"\w+", getattr(annotation, "__name__", "")) if word in _NAMES]
    found = found or [word for word in re.findall(r"\w+", str(annotation)) if word in _NAMES]
    return _NAMES[found[0]]


def _default(name: str, field: Any) -> str:  # noqa: ANN401  pydantic's
    if name in _IN_WORDS:
        return _IN_WORDS[name]
    if field.default_factory is not None:
        message = f"the default of {name} may differ from machine to machine: put it into words"
        raise ValueError(message)
    if field.default is None:
        return "none"
    return f"`{list(field.default) if isinstance(field.default, tuple) else field.default}`"


def exit_codes() -> Iterator[tuple[str, ...]]:
    """Give each exit code: its number, name and meaning."""
    said = {
        int(code): meaning
        for code, meaning in re.findall(
            r"^\| (\d+) \| \w+ \| (.+) \|$", _EXIT_CODES.read_text(encoding="utf-8"), re.MULTILINE
        )
    }
    for code in ExitCode:
        yield str(code.value), code.name, said[code.value]


def _table(head: tuple[str, ...], rows: Any) -> str:  # noqa: ANN401  an iterable of rows
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def one_line(text: str) -> str:
    """Return a text without its line breaks."""
    return " ".join(text.split())


def _cell(text: str) -> str:
    return one_line(text).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
