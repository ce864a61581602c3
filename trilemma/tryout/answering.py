"""``python -m trilemma.tryout.answering``: loads one configuration, answers one question, and waits to be released.

It waits because what it holds is read once more when the answer is written: a moment later it would be unloaded. It
knows neither store nor meters. The token loop does what it does in a benchmark and notes each token; another thread
makes text of them a few times a second.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from trilemma import registry
from trilemma.bench.joint import request_of
from trilemma.bench.measure import die_with_parent, loaded
from trilemma.engines.base import Engine, LoadedModel
from trilemma.engines.remote import RemoteModel, TextStreamer
from trilemma.errors import EngineError, TrilemmaError
from trilemma.suites.generation import Turn
from trilemma.tryout.messages import Ended, Failed, Question, Ready, Task, Word, Written, clean

_TELL_EVERY_S = 0.2
_WARM_UP = Turn(4, messages=({"role": "user", "content": "Hello"},))

Say = Callable[[Word], None]


def answer(model: LoadedModel, question: Question, say: Say) -> None:
    """Answer, telling it as it is written; what is said last has ``ended``.

    Raises:
        EngineError: the engine refuses the question, or failed; what was written until then has been said.
    """
    said = ({"role": "user", "content": question.prompt},)
    turn = Turn(question.max_tokens, messages=said, temperature=question.temperature, seed=question.seed)
    request = request_of(model, turn)
    tokens: list[int] = []
    times: list[int] = []
    texts = [""]
    over = threading.Event()
    begun = time.perf_counter_ns()

    def on_token(token: int, time_ns: int) -> None:
        tokens.append(token)
        times.append(time_ns)

    def on_text(text: str, time_ns: int) -> None:
        if text != texts[-1]:
            texts[:] = [text]
            times.append(time_ns)

    def tell() -> None:
        told = 0
        while not over.wait(_TELL_EVERY_S):
            known = times[:]
            if len(known) > told:
                told = len(known)
                with suppress(TrilemmaError, OSError):
                    text = model.detokenize(tokens[:told]) if tokens else texts[-1]
                    # What cannot be decoded at the end is a character whose rest is still to come.
                    say(_written(text.rstrip("\ufffd"), known, begun, counted=bool(tokens)))

    teller = threading.Thread(target=tell, name="telling", daemon=True)
    teller.start()
    try:
        if isinstance(model, TextStreamer):
            done = model.generate_text(request, on_text)
        else:
            done = model.generate(request, on_token)
    finally:
        over.set()
        teller.join()
    text = model.detokenize(done.tokens) if done.tokens else done.text
    counted = done.token_timing != "estimate"
    full = len(done.token_times_ns) >= request.max_tokens
    ended: Ended = "" if done.error else "length" if full else "end"
    say(_written(text, done.token_times_ns, done.submitted_ns, ended, counted=counted))
    if done.error:
        raise EngineError(done.error)


def _written(text: str, times_ns: Sequence[int], submitted_ns: int, ended: Ended = "", *, counted: bool) -> Written:
    first, last = (times_ns[0], times_ns[-1]) if times_ns else (None, None)
    return Written(
        text=clean(text), tokens=len(times_ns), counted=counted, submitted_ns=submitted_ns, first_ns=first,
        last_ns=last, ended=ended,
    )  # fmt: skip


def serve(task: Task, say: Say, wait: Callable[[], object]) -> None:
    """Load, say so, answer, and stay loaded until ``wait`` returns.

    Raises:
        TrilemmaError: the configuration cannot be loaded, or does not answer.
    """
    contender = task.contender
    begun = time.perf_counter()
    engine: Engine = registry.load("trilemma.engines", contender.configuration.engine)()
    with loaded(engine, contender.configuration, contender.artifact, contender.adapter) as model:
        load_s = time.perf_counter() - begun
        if isinstance(model, RemoteModel):  # not warmed up: its tokens may cost money
            server = model.process
            reason = "" if server.pid is not None else clean(server.reason)
            say(Ready(pid=server.pid, elsewhere=True, reason=reason, load_s=load_s))
        else:
            model.generate(request_of(model, _WARM_UP))
            say(Ready(pid=os.getpid(), load_s=load_s))
        answer(model, task.question, say)
        wait()


def main() -> int:
    """Read the task, send words on what was standard output; anything printed goes to the log."""
    die_with_parent()
    lock = threading.Lock()
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as out:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

        def say(word: Word) -> None:
            with lock:
                out.write(word.model_dump_json().encode() + b"\n")
                out.flush()

        try:
            # What comes after the task is nothing but the end of the pipe.
            serve(Task.model_validate_json(sys.stdin.buffer.readline()), say, sys.stdin.buffer.read)
        except TrilemmaError as error:
            say(Failed(reason=clean(str(error))))
        except MemoryError:
            say(Failed(reason="Memory ran out. Choose fewer bits per weight or a shorter context."))
    return 0


if __name__ == "__main__":
    sys.exit(main())
