"""Questions, answered by real keys."""

import signal
import sys
from collections.abc import Callable

import pexpect
import pytest

from client_manager.errors import Cancelled, InvalidInput, NoAnswer
from client_manager.menu.prompts import Back, Nobody, Option, Prompter, Questionary
from tests.menu.conftest import CLEAR, CTRL_C, CTRL_D, DOWN, ENTER, ESC, UP, Terminal

FEW = [Option("First", "a", "1"), Option("Second", "b", "2"), Option("Nothing", None, "0")]
MANY = [Option(f"client-{number:02}", number) for number in range(12)]
ASK = Questionary()

Question = Callable[[Prompter], object]
QUESTIONS: dict[str, Question] = {
    "choose": lambda ask: ask.choose("Which?", FEW),
    "text": lambda ask: ask.text("What?", str, default="something"),
    "secret": lambda ask: ask.secret("Secret?"),
    "yes_no": lambda ask: ask.yes_no("Sure?"),
    "type_name": lambda ask: ask.type_name("Type acme:", "acme"),
}
every_question = pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)


# An event loop keeps to itself what is raised in its callbacks; the limit is for a program that goes on without end.
STRUCK_AT_A_QUESTION = """
import os, resource, signal, sys
from questionary import Question
from client_manager import cli
from client_manager.menu.prompts import Questionary

resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
signal.signal(signal.SIGINT, signal.default_int_handler)
asked = Question.unsafe_ask

def strike(moment):
    if moment == "{moment}":
        os.kill(os.getpid(), signal.{name})
        for _ in range(1000):
            pass

def ask(question):
    strike("before the loop")
    return asked(question)

def parse(text):
    strike("in a callback")
    return text

Question.unsafe_ask = ask
sys.exit(cli.run(lambda: Questionary().text("Name:", parse)))
"""


@pytest.mark.parametrize("moment", ["before the loop", "in a callback"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_ends_the_program_wherever_its_question_is(number: signal.Signals, moment: str) -> None:
    program = STRUCK_AT_A_QUESTION.format(name=number.name, moment=moment)
    child = pexpect.spawn(sys.executable, ["-c", program], timeout=60)
    try:
        if moment == "in a callback":
            child.expect("Name:")
            child.send(f"x{ENTER}")
        child.expect(pexpect.EOF)
        child.wait()
    finally:
        child.close(force=True)
    assert child.exitstatus == 130


def lower_case(text: str) -> str:
    if text != text.lower() or not text:
        raise InvalidInput("This will not do.", why="lower case only")
    return text


@every_question
def test_esc_goes_back(terminal: Terminal, question: Question) -> None:
    terminal.press(ESC)
    with pytest.raises(Back):
        question(ASK)


@every_question
def test_esc_and_enter_at_once_go_back(terminal: Terminal, question: Question) -> None:
    terminal.press(ESC, ENTER)
    with pytest.raises(Back):
        question(ASK)


@every_question
def test_ctrl_c_cancels(terminal: Terminal, question: Question) -> None:
    terminal.press(CTRL_C)
    with pytest.raises(Cancelled):
        question(ASK)


@every_question
def test_a_terminal_that_goes_away_cancels(terminal: Terminal, question: Question) -> None:
    terminal.hang_up()
    with pytest.raises(Cancelled):
        question(ASK)


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (ENTER, "a"),
        (DOWN + ENTER, "b"),
        (DOWN + DOWN + UP + ENTER, "b"),
        (UP + ENTER, None),
        ("2" + ENTER, "b"),
        ("0" + ENTER, None),
        ("2" + "1" + ENTER, "a"),
    ],
)
def test_choose_returns_what_the_pointer_was_moved_to(terminal: Terminal, keys: str, value: str | None) -> None:
    terminal.press(keys)
    assert ASK.choose("Which?", FEW) == value


def test_choose_shows_keys_and_the_way_back(terminal: Terminal) -> None:
    terminal.press(ESC)
    with pytest.raises(Back):
        ASK.choose("Which?", FEW)
    assert all(words in terminal.written.getvalue() for words in ("1) First", "0) Nothing", "Esc: back"))


@pytest.mark.parametrize("options", [FEW, MANY], ids=["few", "many"])
def test_the_first_menu_promises_no_way_back(terminal: Terminal, options: list[Option[object]]) -> None:
    terminal.press(ESC)
    with pytest.raises(Back):
        ASK.choose("Which?", options, is_first=True)
    assert "Ctrl-C: leave" in terminal.written.getvalue()
    assert "back" not in terminal.written.getvalue()


@pytest.mark.parametrize("key", ["4", "x"])
def test_choose_takes_enter_after_a_key_that_is_not_offered_for_nothing(terminal: Terminal, key: str) -> None:
    terminal.press(key, ENTER, "2", ENTER)
    assert ASK.choose("Which?", FEW) == "b"


def test_choose_among_nothing_goes_back() -> None:
    with pytest.raises(Back):
        ASK.choose("Which?", [])


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        ("11" + ENTER, 11),
        ("CLIENT-07" + ENTER, 7),
        ("client-0" + DOWN + DOWN + ENTER, 2),
        ("nine" + "\x7f" * 4 + "09" + ENTER, 9),
        (DOWN * 11 + ENTER, 11),
    ],
)
def test_more_than_ten_options_are_found_by_typing(terminal: Terminal, keys: str, value: int) -> None:
    terminal.press(keys)
    assert ASK.choose("Which?", MANY) == value


def test_more_than_ten_options_with_a_key_each_are_chosen_by_key(terminal: Terminal) -> None:
    terminal.press(f"7{ENTER}")
    keyed = [Option(f"entry {number}", number, key) for number, key in enumerate("1234567890abc")]
    assert Questionary().choose("Which?", keyed) == 6


def test_a_filter_that_matches_nothing_chooses_nothing(terminal: Terminal) -> None:
    terminal.press("nine", ENTER, ESC)
    with pytest.raises(Back):
        ASK.choose("Which?", MANY)


def test_esc_leaves_a_filter_for_the_menu_before(terminal: Terminal) -> None:
    terminal.press("07", ESC)
    with pytest.raises(Back):
        ASK.choose("Which?", MANY)


def test_text_returns_what_its_rule_makes_of_it(terminal: Terminal) -> None:
    terminal.press("  42 ", ENTER)
    assert ASK.text("Number:", int) == 42


def test_text_takes_the_default_for_enter(terminal: Terminal) -> None:
    terminal.press(ENTER)
    assert ASK.text("Name:", lower_case, default="acme") == "acme"


def test_text_asks_until_the_rule_is_kept(terminal: Terminal) -> None:
    terminal.press("Acme", ENTER, ENTER, CLEAR, ENTER, "acme", ENTER)
    assert ASK.text("Name:", lower_case) == "acme"


def test_text_says_which_rule_is_broken(terminal: Terminal) -> None:
    terminal.press("Acme", ENTER, ESC)
    with pytest.raises(Back):
        ASK.text("Name:", lower_case)
    assert "lower case only" in terminal.written.getvalue()


def test_ctrl_d_in_an_empty_text_cancels(terminal: Terminal) -> None:
    terminal.press(CTRL_D)
    with pytest.raises(Cancelled):
        ASK.text("Name:", lower_case)


def test_text_is_echoed_where_a_secret_is_not(terminal: Terminal) -> None:
    terminal.press("not-hidden", ENTER)
    ASK.text("Name:", str)
    assert "not-hidden" in terminal.screen


def test_secret_is_returned_and_not_echoed(terminal: Terminal) -> None:
    terminal.press("hunter2", ENTER)
    assert ASK.secret("Key:") == "hunter2"
    assert "Key:" in terminal.screen
    assert not any(part in terminal.written.getvalue() for part in ("hunter2", "hunt", "er2"))


@pytest.mark.parametrize(
    ("keys", "answer"),
    [(ENTER, False), ("y" + ENTER, True), ("n" + ENTER, False), ("yn" + ENTER, False), ("z" + ENTER, False)],
)
def test_yes_no_is_yes_only_for_y_and_enter(terminal: Terminal, keys: str, answer: bool) -> None:  # noqa: FBT001
    terminal.press(keys)
    assert ASK.yes_no("Sure?") is answer


def test_y_alone_is_no_answer_yet(terminal: Terminal) -> None:
    terminal.press("y", ESC)
    with pytest.raises(Back):
        ASK.yes_no("Sure?")


def test_the_right_name_lets_a_destructive_step_happen(terminal: Terminal) -> None:
    terminal.press("acme", ENTER)
    ASK.type_name("Type acme:", "acme")


@pytest.mark.parametrize("typed", ["", "acm", "ACME", "y", "yes"])
def test_any_other_name_cancels(terminal: Terminal, typed: str) -> None:
    terminal.press(typed, ENTER)
    with pytest.raises(Cancelled, match="not the name"):
        ASK.type_name("Type acme:", "acme")


def test_questions_in_a_row_take_what_was_typed_ahead(terminal: Terminal) -> None:
    terminal.press("2", ENTER, "acme", ENTER, "y", ENTER)
    assert (ASK.choose("Which?", FEW), ASK.text("Name:", str), ASK.yes_no("Sure?")) == ("b", "acme", True)


@pytest.mark.parametrize(
    ("question", "way_around"),
    [
        ("choose", "argument"),
        ("text", "option"),
        ("secret", "terminal"),
        ("yes_no", "--yes"),
        ("type_name", "--confirm acme"),
    ],
)
def test_nobody_refuses_and_names_the_way_around(question: str, way_around: str) -> None:
    with pytest.raises(NoAnswer) as refusal:
        QUESTIONS[question](Nobody())
    assert refusal.value.exit_code == 9
    assert way_around in refusal.value.hint


def test_nobody_goes_on_where_only_reading_is_asked() -> None:
    Nobody().pause()
