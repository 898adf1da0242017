"""The exit code of a sweep is that of the store at its end."""

from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from orchestrator import sweep
from orchestrator.sweep import EXIT_AGAIN, EXIT_DONE, EXIT_INCOMPLETE, EXIT_INTERRUPTED


@pytest.mark.parametrize(
    ("ran", "left", "code"),
    [
        (EXIT_INCOMPLETE, [], EXIT_DONE),  # another sweep has finished what failed here
        (EXIT_INCOMPLETE, ["a trial"], EXIT_INCOMPLETE),
        (EXIT_INTERRUPTED, [], EXIT_INTERRUPTED),
        (EXIT_DONE, [], EXIT_DONE),
    ],
)
def test_what_the_store_has_at_the_end_decides(ran: int, left: list[str], code: int, monkeypatch: Any) -> None:
    after = SimpleNamespace(to_do=lambda: left)
    one = SimpleNamespace(
        damaged={},
        plan=SimpleNamespace(to_do=lambda: ["a trial"]),
        replan=lambda: (after, {}),
        grid=SimpleNamespace(runtime=SimpleNamespace(tracking="")),
    )
    for name, answer in (("_reopen", None), ("mirror_of", None), ("_run_trials", ran)):
        monkeypatch.setattr(sweep, name, lambda *_, answer=answer: answer)
    assert sweep._run_rounds(one, Console())[0] == code


def test_a_round_in_which_something_was_retried_too_late_is_followed_by_another(monkeypatch: Any) -> None:
    ran = iter((EXIT_AGAIN, EXIT_DONE))
    plans = iter((SimpleNamespace(to_do=lambda: ["the retried"]), SimpleNamespace(to_do=list)))
    one = SimpleNamespace(
        damaged={},
        plan=SimpleNamespace(to_do=lambda: ["a trial"]),
        replan=lambda: (next(plans), {}),
        grid=SimpleNamespace(runtime=SimpleNamespace(tracking="")),
    )
    for name, answer in (("_reopen", lambda *_: None), ("mirror_of", lambda *_: None)):
        monkeypatch.setattr(sweep, name, answer)
    monkeypatch.setattr(sweep, "_run_trials", lambda *_: next(ran))
    assert sweep._run_rounds(one, Console())[0] == EXIT_DONE
    assert next(ran, None) is None
