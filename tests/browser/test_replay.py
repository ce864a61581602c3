"""A viewer sends what an administrator's browser would have sent, for everything that a dashboard can be asked to do.

Each click is recorded in a real browser and held back. Then exactly those messages go to the dashboard over a
connection with the viewer's cookies: nothing may change. They go to a dashboard that hides neither buttons nor paths as
well, where what guards each action is all that is left: it refuses, and the refusal is in the log. Last they go with
the administrator's own cookies: if nothing changed then either, the test would show nothing.
"""

from __future__ import annotations

import http.server
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page
from streamlit.proto.BackMsg_pb2 import BackMsg

from pages.shared import PAGES
from tests import factory
from tests.browser import people
from tests.browser.conftest import ROOT, start_server, wait_settled
from tests.browser.people import Kept, address, content, log_in, write_login
from tests.browser.replay import Cookies, Recorder, Session
from tests.catalog.gguf_files import complete, tiny
from tests.pages.test_tryout import study as asked_study
from tests.waiting import free_port, wait_for
from trilemma.access.roles import Action
from trilemma.archive.write import export_bytes
from trilemma.catalog.catalog import Catalog
from trilemma.records import AuditRecord, Machine, Outcome
from trilemma.sample.loading import add_sample
from trilemma.schema import Configuration, RunSpec, RunState, StudySpec, utc_now
from trilemma.serve import Services, login_arguments
from trilemma.settings import get_settings
from trilemma.store import Store, open_store

pytestmark = [pytest.mark.browser, pytest.mark.slow]

VERA, ADA = address("vera"), address("ada")
RESULTS = Path(__file__).parents[1] / "interop" / "data" / "llama-bench.json"
TRACE = b'{"arrival_s": 0, "prompt": "x", "output_tokens": 2}\n'
QUESTIONS = b"question,answer\nHow much is one and one?,2\n"
Click = Callable[["World", Page, Recorder], None]


@dataclass
class World:
    """A dashboard with something to do for every action, another one that hides nothing, and who is logged in."""

    home: Path
    store: Store
    url: str
    unhidden: str = ""
    names: dict[str, str] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    cookies: dict[str, Cookies] = field(default_factory=dict)

    def file(self, name: str, data: bytes) -> None:
        """Something to upload."""
        self.files[name] = self.home.parent / name
        self.files[name].write_bytes(data)

    def send(self, who: str, frames: list[BackMsg], url: str = "") -> bytes:
        """What comes back when somebody sends these."""
        files = {name: path.read_bytes() for name, path in self.files.items()}
        with Session(url or self.url, self.cookies[who], self.url, files) as session:
            session.replay(frames)
            return session.received

    def log(self, who: str) -> list[AuditRecord]:
        """What is in the log of what somebody did, or wanted to do; the newest first."""
        return [one for one in self.store.audit(10_000) if one.who == who and one.action != Action.SIGN_IN]


@contextmanager
def endpoint() -> Iterator[str]:
    """A server with one model."""

    class Models(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"object": "list", "data": [{"id": "served", "object": "model"}]}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Models) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


def furnish(world: World) -> None:
    """Something to do for every action."""
    store, home, settings = world.store, world.home, get_settings()
    add_sample(store)
    factory.fill_store(store, [(factory.SMOL, "F16"), (factory.SMOL, "Q4_K_M")])
    weights = home.parent / "weights"
    weights.mkdir()
    asked_study(store, weights, {"F16": ["1", "3"], "Q2_K": ["2", "4"]})
    (home / "artifacts").mkdir(exist_ok=True)
    model = Catalog(store, settings).add_path(str(complete(home / "artifacts" / "random.gguf")))
    world.file("random-2.gguf", complete(home.parent / "made.gguf", seed=1).read_bytes())
    configuration = Configuration(artifact_id=model.id, engine="llama.cpp", settings={"threads": 1})
    specs = [RunSpec(configuration=configuration, repeat=number) for number in range(4)]
    queued = store.add_study(StudySpec(name="Queued", configurations=(configuration,)), specs)
    failed = store.claim_next("w")
    assert failed is not None
    store.start_run(failed.id, factory.HOST)
    store.finish_run(failed.id, RunState.FAILED, reason="Bad luck.")
    store.see_machines([Machine(name="gone", cpus=2, seen_at=utc_now() - timedelta(hours=1))])
    running = store.claim_next("w")
    assert running is not None
    store.start_run(running.id, factory.HOST)
    with open_store(f"sqlite:///{home.parent / 'elsewhere.db'}") as elsewhere:
        packed = export_bytes(elsewhere, factory.fill_store(elsewhere, name="Elsewhere", seed=9).id)
    world.file("elsewhere.trilemma.zip", packed)
    world.file("llama-bench.json", RESULTS.read_bytes())
    world.file("trace.jsonl", TRACE)
    world.file("questions.csv", QUESTIONS)
    asked = next(one for one in store.studies() if one.spec.name == "Asked")
    world.names = {"model": model.id[:12], "queued": queued.id, "asked": asked.id}


def logged_in(browser: Browser, url: str, name: str) -> Cookies:
    """The cookies of somebody who has just logged in."""
    context = browser.new_context()
    page = context.new_page()
    log_in(page, url, name)
    wait_settled(page)
    found = {str(cookie["name"]): str(cookie["value"]) for cookie in context.cookies(url)}
    context.close()
    return found


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[World]:
    home = tmp_path_factory.mktemp("replay") / "home"
    port = free_port()
    with (
        pytest.MonkeyPatch.context() as patched,
        people.provider(tmp_path_factory.mktemp("provider") / "log") as provider,
        endpoint() as served,
    ):
        patched.setenv("TRILEMMA_HOME", str(home))
        get_settings.cache_clear()
        get_settings().ensure_home()
        write_login(home, provider, port)
        with open_store(f"sqlite:///{home / 'trilemma.db'}") as store:
            made = World(home, store, f"http://127.0.0.1:{port}")
            furnish(made)
            made.names["endpoint"] = served
            unhidden = start_server(home, [str(ROOT / "tests" / "browser" / "unhidden.py")], login_arguments(home))
            try:
                with Services(host="0.0.0.0", port=port, worker=False, log_dir=home / "logs") as services:
                    services.wait_ready()
                    made.unhidden = unhidden.url
                    made.cookies = {name: logged_in(browser, made.url, name) for name in ("vera", "ada")}
                    yield made
            finally:
                unhidden.stop()
    get_settings.cache_clear()


@pytest.fixture(scope="module")
def kept(world: World) -> Kept:
    return Kept.of(world.home)


@pytest.fixture
def recording(browser: Browser, world: World) -> Iterator[tuple[Page, Recorder]]:
    """A page of the administrator's, and what it sends."""
    context = browser.new_context(viewport={"width": 1440, "height": 1600})
    context.add_cookies([{"name": k, "value": v, "url": world.url} for k, v in world.cookies["ada"].items()])
    page = context.new_page()
    yield page, Recorder(page)
    context.close()


def click(name: str, *before: str) -> Click:
    """A click on the first button with such a name, after those that only open something."""

    def clicked(world: World, page: Page, recorder: Recorder) -> None:
        for one in before:
            page.get_by_role("button", name=re.compile(one)).first.click()
        button = page.get_by_role("button", name=re.compile(name)).first
        button.wait_for()
        recorder.hold()
        button.click()

    return clicked


def upload(file: str, label: str, then: str = "", opened: str = "") -> Click:
    """A file that is brought to the place with that label, and a click if its arrival alone does nothing."""

    def uploaded(world: World, page: Page, recorder: Recorder) -> None:
        if opened:
            page.get_by_text(opened).first.click()
        given = page.get_by_test_id("stFileUploader").filter(has_text=label).locator("input[type=file]")
        if not then:
            recorder.hold()
        given.set_input_files(world.files[file])
        if then:
            click(then)(world, page, recorder)

    return uploaded


def typed(label: str, text: str, then: str) -> Click:
    """A text that is entered, and a click."""

    def entered(world: World, page: Page, recorder: Recorder) -> None:
        filled = text.format(**world.names, **{key.partition(".")[0]: path for key, path in world.files.items()})
        page.get_by_label(label).first.fill(filled)
        click(then)(world, page, recorder)

    return entered


def ask(world: World, page: Page, recorder: Recorder) -> None:
    box = page.get_by_test_id("stChatInputTextArea")
    box.fill("What is the sea?")
    recorder.hold()
    box.press("Enter")


def take_back(world: World, page: Page, recorder: Recorder) -> None:
    page.get_by_role("button", name="A is better").click()
    click("Take it back")(world, page, recorder)


def add_package(world: World, page: Page, recorder: Recorder) -> None:
    offer = page.locator("[class*=st-key-offer_packages]", has_text="SmolLM2")
    recorder.hold()
    offer.get_by_role("button", name="Add").click()


def pause(world: World) -> None:
    world.store.pause_queue()


@dataclass(frozen=True)
class Case:
    """Something that an administrator does.

    ``refused`` is what the viewer is refused where nothing is hidden; other than ``action`` where that comes only after
    something else was done.
    """

    action: Action
    where: str
    do: Click
    before: Callable[[World], None] = lambda world: None
    refused: Action | None = None
    changes: bool = True

    def __str__(self) -> str:
        return f"{self.action}, {self.where.partition('?')[0]}".replace(" ", "_")


FORM = "new_study?a_{model}=true&s_context=512&w_short_chat=true&q_perplexity=false&q_hellaswag=false&q_piqa=false"
CASES = [
    Case(Action.CANCEL_RUN, "queue?show=Waiting", click("^Cancel$")),
    Case(Action.CANCEL_RUN, "queue", click("Cancel this run")),
    Case(Action.CANCEL_RUN, "queue?study={queued}", click("Cancel what is left", "Cancel the study")),
    Case(Action.DELETE_STUDY, "queue?study={asked}", click("Delete it", "Delete the study")),
    Case(Action.RETRY_RUN, "queue?show=Failed", click("Retry")),
    Case(Action.PAUSE, "queue", click("Pause the queue")),
    Case(Action.RESUME, "queue", click("Resume the queue"), pause),
    Case(Action.IMPORT, "queue", upload("elsewhere.trilemma.zip", "Download the study", "Import it", "Import a study")),
    Case(Action.IMPORT, FORM, upload("llama-bench.json", "A file of results", "Import 2 runs", "Import another tool's"),
         refused=Action.SUBMIT),
    Case(Action.SUBMIT, FORM, click("Measure")),
    Case(Action.ADD_FILE, FORM, upload("trace.jsonl", "Recorded trace", opened="How requests come, limits and lengths"),
         refused=Action.SUBMIT),
    Case(Action.ADD_FILE, FORM + "&q_own=true", upload("questions.csv", "A file of questions"), refused=Action.SUBMIT),
    Case(Action.DELETE_WEIGHTS, "models?from={model}", click("Delete it", "^Delete$")),
    Case(Action.QUANTISE, "models?from={model}&make=Q8_0", click("Make 1 file")),
    Case(Action.CONVERT, "models?from={model}", click("^Convert$")),
    Case(Action.ADD_WEIGHTS, "models?source=Installed+packages", add_package),
    Case(Action.ADD_PATH, "models?source=Path", typed("Path of a GGUF file", "{random-2}", "Add it")),
    Case(Action.ADD_ENDPOINT, "models?source=Endpoint", typed("Address", "{endpoint}", "Add it")),
    Case(Action.VOTE, "compare?study={asked}&tab=vote", click("A is better")),
    Case(Action.UNDO_VOTE, "compare?study={asked}&tab=vote", take_back, refused=Action.VOTE, changes=False),
    Case(Action.TRY_OUT, "compare?study={asked}&tab=tryout", ask, changes=False),
    Case(Action.FORGET_MACHINE, "machines", click("Take it off the list")),
    Case(Action.CHANGE_SAMPLE, "explore?study=sample", click("Remove it", "Remove the sample")),
]  # fmt: skip


def record(world: World, where: str, do: Click, page: Page, recorder: Recorder) -> list[BackMsg]:
    """What the administrator's browser sends, of which the last was not let through."""
    page.goto(f"{world.url}/{where.format(**world.names)}")
    page.get_by_role("heading", level=1).wait_for(timeout=60_000)
    wait_settled(page)
    do(world, page, recorder)
    wait_for(lambda: bool(page.wait_for_timeout(50) or recorder.held), 30)
    return [*recorder.frames]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_an_administrators_click_sends_does_nothing_for_a_viewer(
    case: Case, world: World, kept: Kept, recording: tuple[Page, Recorder]
) -> None:
    def again() -> dict[str, Any]:
        kept.bring_back()
        case.before(world)
        return content(world.home)

    again()
    frames = record(world, case.where, case.do, *recording)

    before = again()
    received = world.send("vera", frames)
    assert b"Vera, viewer" in received
    assert content(world.home) == before
    assert [one for one in world.log(VERA) if one.outcome is not Outcome.REFUSED] == []

    before = again()
    world.send("vera", frames, world.unhidden)
    assert content(world.home) == before
    (refusal,) = {(one.action, one.outcome, one.role) for one in world.log(VERA)}
    assert refusal == (case.refused or case.action, Outcome.REFUSED, "viewer")

    before = again()
    world.send("ada", frames)
    wait_for(lambda: (case.action, Outcome.DONE) in {(one.action, one.outcome) for one in world.log(ADA)})
    assert (content(world.home) != before) == case.changes
    assert world.log(VERA) == []
    kept.bring_back()


def test_a_task_that_an_administrator_could_stop_goes_on(
    world: World, kept: Kept, recording: tuple[Page, Recorder]
) -> None:
    """In a part of the page that refreshes itself, by a button that is named after the task."""
    kept.bring_back()
    page, recorder = recording
    large = world.home.parent / "large.gguf"
    large.write_bytes(tiny())
    with large.open("r+b") as file:
        file.truncate(2**37)  # takes minutes to be hashed, and no room on the disk

    def begin(world: World, page: Page, recorder: Recorder) -> None:
        page.get_by_label("Path of a GGUF file").fill(str(large))
        page.get_by_role("button", name="Add it").click()
        click("^Cancel$")(world, page, recorder)

    frames = record(world, "models?source=Path", begin, page, recorder)
    world.send("vera", frames)
    assert world.log(VERA) == []
    assert world.log(ADA) == [], "the task goes on: what it does is noted when it is over"
    world.send("ada", frames[-1:])  # not what began it: that would begin another
    try:
        wait_for(lambda: (Action.STOP_TASK, Outcome.DONE) in {(e.action, e.outcome) for e in world.log(ADA)}, 20)
    finally:
        large.unlink()


def test_every_action_is_tried() -> None:
    """But those that look on, which the addresses of pages show, and the one that is part of submitting."""
    looks = {Action.SIGN_IN, Action.SEE_SERVER, Action.READ_AUDIT}
    assert {case.action for case in CASES} | {Action.STOP_TASK, Action.NAME_ADDRESS} == set(Action) - looks


def test_messages_that_no_page_sends_change_nothing(world: World, kept: Kept) -> None:
    """What Streamlit's protocol has besides clicks, from a viewer and from somebody who is not logged in."""
    kept.bring_back()
    before = content(world.home)
    checkout = {path.name for path in ROOT.iterdir()}
    for cookies in (world.cookies["vera"], {}):
        for name in PAGES:
            with Session(world.url, cookies, world.url) as session:
                page = BackMsg()
                page.rerun_script.page_name = name
                session.replay([page])
                for kind in ("clear_cache", "load_git_info", "set_run_on_save", "stop_script",
                             "debug_shutdown_runtime", "debug_disconnect_websocket"):  # fmt: skip
                    session.send(BackMsg(**{kind: True}))
                for payload in ("install_skills", "dismiss_skills_nudge"):
                    operation = BackMsg()
                    operation.backend_operation_request.session_id = session._id
                    getattr(operation.backend_operation_request, payload).SetInParent()
                    session.send(operation)
                session.replay([page])
                assert (b"Vera, viewer" in session.received) == bool(cookies)
                assert str(world.home).encode() not in session.received
    time.sleep(0.5)
    assert content(world.home) == before
    done = {one.action for one in world.store.audit(10_000) if one.outcome is Outcome.DONE}
    assert done <= {Action.SIGN_IN.value}
    assert {path.name for path in ROOT.iterdir()} == checkout
    assert people.answers(f"{world.url}/_stcore/health")
