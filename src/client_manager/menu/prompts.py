"""The only place that asks. Every answer is one that was offered, or a value that passed its rule.

The libraries are imported by the first question: commands that ask nothing do not wait for them.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, NoReturn, Protocol, TypeVar

from client_manager.errors import Cancelled, InvalidInput, NoAnswer
from client_manager.gateways import interrupts

if TYPE_CHECKING:
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
    from questionary import Question, Style
    from questionary.prompts.common import InquirerControl

# Asking the terminal where its cursor is costs a round trip over SSH, and a warning where it does not answer.
os.environ.setdefault("PROMPT_TOOLKIT_NO_CPR", "1")

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

# With more, one types to find; with fewer, one looks.
_FILTER_ABOVE = 10
_KEYS_UP_TO = 14  # of a menu, whose entries have keys that people know by heart
# How long an Esc may turn out to be the start of an arrow key; half a second, the default, feels stuck.
_ESCAPE_WAIT_S = 0.1
_LOOKS = [
    ("qmark", "bold"),
    ("question", "bold"),
    ("pointer", "bold fg:ansicyan"),
    ("highlighted", "bold fg:ansicyan"),
    ("selected", ""),
    ("instruction", "fg:ansigray"),
    ("disabled", "fg:ansigray italic"),
]


class Back(Exception):
    """The operator pressed Esc: one step back; out of a command, its end."""


@dataclass(frozen=True)
class Option(Generic[T_co]):
    """One answer to choose: its label, what it stands for, and the key that moves to it."""

    label: str
    value: T_co
    key: str | None = None


class Prompter(Protocol):
    """Somebody to ask, or nobody."""

    def choose(self, message: str, options: Sequence[Option[T]], *, is_first: bool = False) -> T:
        """Return the value of the chosen option; before the first question there is nothing to go back to."""

    def text(self, message: str, parse: Callable[[str], T], *, default: str = "") -> T:
        """Return what was typed, as ``parse`` reads it; it raises ``InvalidInput`` for what it refuses."""

    def secret(self, message: str) -> str:
        """Return what was typed, without showing it."""

    def yes_no(self, message: str) -> bool:
        """Return the answer to an ordinary confirmation; the default is no."""

    def type_name(self, message: str, name: str, *, option: str = "--confirm") -> None:
        """Return if the operator types the name, as a destructive step demands; ``option`` says it to a command."""

    def pause(self) -> None:
        """Wait until the operator has read the screen."""


class Questionary:
    """Asks at the terminal. Esc raises ``Back``, Ctrl-C and a closed terminal ``Cancelled``."""

    def choose(self, message: str, options: Sequence[Option[T]], *, is_first: bool = False) -> T:
        """Return the value of the chosen option; what are too many for a look are filtered by typing.

        The choices stand for their index, and the answer is checked against them: the library can return what was not
        offered (tmbo/questionary#324), and treats a None value as missing.
        """
        import questionary

        if not options:
            raise Back
        filtered = len(options) > (_KEYS_UP_TO if all(option.key for option in options) else _FILTER_ABOVE)
        question = questionary.select(
            message,
            choices=[
                questionary.Choice(title=option.label, value=str(index), shortcut_key=None if filtered else option.key)
                for index, option in enumerate(options)
            ],
            use_jk_keys=False,
            use_search_filter=filtered,
            use_shortcuts=not filtered and all(option.key for option in options),
            instruction=_instruction(filtered=filtered, is_first=is_first),
            style=_style(),
            qmark="",
        )
        answer = _ask(question, _enter(question, [option.key for option in options]))
        if not isinstance(answer, str) or not answer.isdigit() or int(answer) >= len(options):
            raise Back
        return options[int(answer)].value

    def text(self, message: str, parse: Callable[[str], T], *, default: str = "") -> T:
        """Return what was typed, as ``parse`` reads it; its refusal is shown under the line while typing goes on."""
        import questionary

        question = questionary.text(message, default=default, validate=_verdict(parse), style=_style(), qmark="")
        return parse(str(_ask(question)).strip())

    def secret(self, message: str) -> str:
        """Return what was typed, without showing it."""
        import questionary

        return str(_ask(questionary.password(message, style=_style(), qmark="")))

    def yes_no(self, message: str) -> bool:
        """Return the answer; Enter alone means no."""
        import questionary

        question = questionary.confirm(message, default=False, auto_enter=False, style=_style(), qmark="")
        return _ask(question) is True

    def type_name(self, message: str, name: str, *, option: str = "--confirm") -> None:
        """Return if the operator types the name; anything else goes back."""
        import questionary

        del option

        if _ask(questionary.text(message, style=_style(), qmark="")) != name:
            raise Cancelled("That is not the name; nothing was done.")

    def pause(self) -> None:
        """Wait for Enter."""
        import questionary

        _ask(questionary.text("Enter to go on", style=_style(), qmark=""))


class Nobody:
    """Stands where nobody can answer: every question is an error that names the way around it."""

    def __init__(self, *, yes: bool = False) -> None:
        self._yes = yes

    def choose(self, message: str, options: Sequence[Option[T]], *, is_first: bool = False) -> T:
        """Refuse."""
        del options, is_first
        _refuse(message, "Name it as an argument, or run in a terminal.")

    def text(self, message: str, parse: Callable[[str], T], *, default: str = "") -> T:
        """Refuse."""
        del parse, default
        _refuse(message, "Give it as an option, or run in a terminal.")

    def secret(self, message: str) -> str:
        """Refuse."""
        _refuse(message, "Run in a terminal.")

    def yes_no(self, message: str) -> bool:
        """Refuse."""
        _refuse(message, "Add --yes, or run in a terminal.")

    def type_name(self, message: str, name: str, *, option: str = "--confirm") -> None:
        """Refuse."""
        _refuse(message, f"Add {option} {name}, or run in a terminal.")

    def pause(self) -> None:
        """Go on: there is no screen to read."""


def _instruction(*, filtered: bool, is_first: bool) -> str:
    way_out = "Ctrl-C: leave" if is_first else "Esc: back"
    return f"(type to filter, {way_out})" if filtered else f"({way_out})"


def _refuse(message: str, hint: str) -> NoReturn:
    raise NoAnswer(f"This needs an answer: {message}", why="There is no terminal to ask at.", hint=hint)


def _verdict(parse: Callable[[str], object]) -> Callable[[str], bool | str]:
    def check(text: str) -> bool | str:
        try:
            parse(text.strip())
        except InvalidInput as error:
            return error.why or error.what
        return True

    return check


def _style() -> "Style":
    from questionary import Style

    return Style(_LOOKS)


def _ask(question: "Question", *more: "KeyBindings") -> object:
    from prompt_toolkit.input.typeahead import clear_typeahead
    from prompt_toolkit.key_binding import merge_key_bindings

    application = question.application
    bindings = [application.key_bindings] if application.key_bindings else []
    application.key_bindings = merge_key_bindings([*bindings, _escape(), *more])
    application.ttimeoutlen = _ESCAPE_WAIT_S

    def leave() -> None:
        if application.is_running and not application.is_done:
            application.exit()

    def end() -> None:
        if application.loop:
            application.loop.call_soon_threadsafe(leave)

    try:
        with interrupts.told(end) as arrived:
            # One that came before there was a loop.
            application.pre_run_callables.append(lambda: leave() if arrived else None)
            return question.unsafe_ask()
    except Back:
        clear_typeahead(application.input)  # what was typed after Esc was not meant for the menu before
        raise
    except (KeyboardInterrupt, EOFError) as error:
        raise Cancelled("Nothing was done.") from error


def _escape() -> "KeyBindings":
    from prompt_toolkit.key_binding import KeyBindings

    keys = KeyBindings()

    @keys.add("escape", eager=True)
    def _back(event: "KeyPressEvent") -> None:
        event.app.exit(exception=Back())

    return keys


def _enter(question: "Question", offered: Sequence[str | None]) -> "KeyBindings":
    """Let Enter choose nothing after a key or a filter that leads nowhere: it would take what is pointed at."""
    from prompt_toolkit.key_binding import KeyBindings
    from questionary.prompts.common import InquirerControl

    controls = question.application.layout.find_all_controls()
    control = next(control for control in controls if isinstance(control, InquirerControl))
    keys = KeyBindings()

    @keys.add("enter", eager=True)
    def _choose(event: "KeyPressEvent") -> None:
        if _leads_nowhere(control, event, offered):
            return
        control.is_answered = True
        event.app.exit(result=control.get_pointed_at().value)

    return keys


def _leads_nowhere(control: "InquirerControl", event: "KeyPressEvent", offered: Sequence[str | None]) -> bool:
    if control.search_filter:
        return not any(control.search_filter.lower() in str(choice.title).lower() for choice in control.choices)
    typed = event.previous_key_sequence[-1].data if event.previous_key_sequence else ""
    return typed.isprintable() and typed not in {"", *offered}
