"""What the dashboard makes of a host: one that answers, one that dies, one that is not wanted any more."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import psutil
import pytest
from hosts import ask, host

from trilemma.errors import StoreError
from trilemma.settings import Settings
from trilemma.tryout.messages import LONGEST_PROMPT, Ask
from trilemma.tryout.rounds import Round, State, machine_taken

WAITS = "sys.stdin.read()\n"


def begin(settings: Settings, script: str, asked: Ask | None = None, unseen_s: float = 60.0) -> Round:
    asked = asked or ask()
    return Round(settings, asked, command=host(script, [one.id for one in asked.contenders]), unseen_s=unseen_s)


def over(found: Round) -> list[State]:
    found.join(20)
    assert found.over
    assert not machine_taken()
    return [answer.state for answer in found.look().values()]


def until(told: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not told():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_answers_grow_and_a_last_reading_comes_after_the_end(settings: Settings) -> None:
    script = """
assert ask["question"]["prompt"] == "Why?"
for n in (0, 1):
    say(n, kind="loading")
    say(n, kind="ready", pid=1, load_s=0.5)
    write(n, "So")
    say(n, kind="reading", memory_bytes=5.0, power_w=9.0)
    write(n, "So it is", "end")
    write(n, "and more")
    say(n, kind="failed", reason="too late")
    say(n, kind="reading", memory_bytes=7.0, power_w=3.0, mean=True)
"""
    found = begin(settings, script)
    assert machine_taken()
    assert over(found) == [State.DONE, State.DONE]
    for answer in found.answers.values():
        assert (answer.text, answer.reason, answer.load_s) == ("So it is", "", 0.5)
        assert answer.written is not None
        assert answer.written.decode_tps == 1.0
        assert answer.reading is not None
        assert (answer.reading.memory_bytes, answer.reading.mean) == (7.0, True)


def test_what_is_no_message_is_dropped(settings: Settings) -> None:
    script = """
print("Loading weights ...", flush=True)
print('{"configuration_id": "nobody", "word": {"kind": "loading"}}', flush=True)
write(0, "A", "end")
write(1, "B", "length")
"""
    found = begin(settings, script)
    assert over(found) == [State.DONE, State.DONE]
    assert [answer.text for answer in found.answers.values()] == ["A", "B"]


def test_a_host_that_dies_takes_all_with_it_and_shows_why(settings: Settings) -> None:
    script = """
write(0, "A", "end")
say(1, kind="loading")
left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], stdout=subprocess.DEVNULL)
say(1, kind="ready", pid=left.pid, load_s=0.0)
print("half a lin", end="", flush=True)
sys.stderr.write("the last words\\x1b[2J\\n")
sys.stderr.flush()
time.sleep(0.3)
write(1, str(left.pid))
os.kill(os.getpid(), signal.SIGKILL)
"""
    found = begin(settings, script)
    assert over(found) == [State.DONE, State.FAILED]
    failed = [*found.answers.values()][1]
    assert "killed" in failed.reason or "memory ran out" in failed.reason
    assert failed.log == "the last words\ufffd[2J"
    until(lambda: not [p for p in psutil.process_iter(["cmdline"]) if "time.sleep(300)" in str(p.info["cmdline"])])


def test_a_host_that_the_kernel_ended_for_want_of_memory(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = iter([3, 4])
    monkeypatch.setattr("trilemma.tryout.rounds.oom_kills", lambda: next(counts))
    found = begin(settings, "os.kill(os.getpid(), signal.SIGKILL)\n", ask(1))
    assert over(found) == [State.FAILED]
    (answer,) = found.answers.values()
    assert answer.reason.startswith("The kernel ended the try-out's process because memory ran out.")


def test_a_host_that_ends_without_a_word_failed(settings: Settings) -> None:
    found = begin(settings, "sys.exit(3)\n")
    assert over(found) == [State.FAILED, State.FAILED]
    assert {answer.reason for answer in found.answers.values()} == {
        "The try-out's process ended with exit status 3 without saying why. See the end of the log."
    }


def test_what_is_written_stays_when_it_is_stopped(settings: Settings) -> None:
    found = begin(settings, f"write(0, 'A', 'end')\nwrite(1, 'half')\n{WAITS}")
    until(lambda: [*found.look().values()][1].state is State.WRITING)
    found.stop("enough")
    found.stop("too late")
    assert over(found) == [State.DONE, State.STOPPED]
    assert [(answer.text, answer.reason) for answer in found.answers.values()] == [("A", ""), ("half", "enough")]


def test_it_can_be_stopped_before_it_has_begun(settings: Settings) -> None:
    found = begin(settings, WAITS)
    found.stop()
    assert over(found) == [State.STOPPED, State.STOPPED]


def test_a_host_that_does_not_end_is_ended(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trilemma.tryout.rounds._END_WITHIN_S", 0.2)
    found = begin(settings, "write(0, 'half')\ntime.sleep(300)\n")
    until(lambda: next(iter(found.look().values())).state is State.WRITING)
    found.stop()
    assert over(found) == [State.STOPPED, State.STOPPED]


def test_a_host_that_does_not_even_read_is_ended(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trilemma.tryout.rounds._END_WITHIN_S", 0.2)
    # More than a pipe holds, so that telling the host what is asked has to wait for it.
    asked = ask(5, "\N{GRINNING FACE}" * LONGEST_PROMPT)
    found = Round(settings, asked, command=[sys.executable, "-c", "import time; time.sleep(300)"])
    found.stop()
    assert over(found) == [State.STOPPED] * 5


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_nobody_waits_for_a_round_that_went_wrong(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object) -> None:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(Round, "_take", breaks)
    found = begin(settings, f"write(0, 'half')\n{WAITS}")
    over(found)
    until(lambda: not psutil.pid_exists(found._host.pid))


def test_nobody_looks_any_more(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trilemma.tryout.rounds._END_WITHIN_S", 0.2)
    script = """
while True:
    say(0, kind="reading")
    time.sleep(0.02)
"""
    found = begin(settings, script, unseen_s=0.3)
    found.join(20)
    assert found.over
    assert [answer.state for answer in found.answers.values()] == [State.STOPPED, State.STOPPED]
    assert {answer.reason for answer in found.answers.values()} == {"nobody was looking"}


def test_what_cannot_be_started_says_so(settings: Settings) -> None:
    with pytest.raises(StoreError, match="cannot be started"):
        Round(settings, ask(), command=["/no/such/program"])
    assert not machine_taken()
