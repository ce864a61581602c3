"""A log-in at a real OpenID Connect provider, in a real browser; and what a viewer gets by every way that there is."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from pages.shared import CLUSTER, PAGES
from tests import factory
from tests.browser import people
from tests.browser.people import PEOPLE, content, log_in, write_login
from tests.waiting import free_port, wait_for
from trilemma.records import Outcome
from trilemma.schema import Configuration, RunSpec, RunState, StudySpec
from trilemma.serve import Services
from trilemma.settings import get_settings
from trilemma.store import Store, open_store

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SECRET_FOLDER = "very-secret-folder"


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with people.provider(tmp_path_factory.mktemp("provider") / "log") as url:
        yield url


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, provider: str) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("users") / "home"
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TRILEMMA_HOME", str(folder))
        get_settings.cache_clear()
        yield folder
    get_settings.cache_clear()


@pytest.fixture(scope="module")
def store(home: Path) -> Iterator[Store]:
    """Results of a demo, and three runs of Anton's: one failed, two that wait. No worker works on them."""
    with open_store(f"sqlite:///{home / 'trilemma.db'}") as opened:
        factory.fill_store(opened)
        weights = factory.artifact(factory.SMOL, "Q8_0")
        weights = weights.model_copy(update={"path": f"/srv/{SECRET_FOLDER}/x.gguf"})
        opened.add_artifact(weights)
        mine = open_store(f"sqlite:///{home / 'trilemma.db'}")
        mine._by = "anton@example.org"
        configuration = Configuration(artifact_id=weights.id, engine="llama.cpp", settings={"threads": 3})
        specs = [RunSpec(configuration=configuration, repeat=number) for number in range(3)]
        mine.add_study(StudySpec(name="Anton's", configurations=(configuration,)), specs)
        failed = mine.claim_next("w")
        assert failed is not None
        mine.start_run(failed.id, factory.HOST)
        log = f"no /srv/{SECRET_FOLDER}/x.gguf"
        mine.finish_run(failed.id, RunState.FAILED, reason=f"{log}.", log_tail=log)
        mine.close()
        yield opened


@pytest.fixture(scope="module")
def url(home: Path, provider: str, store: Store) -> Iterator[str]:
    """The dashboard as ``trilemma serve`` starts it, open to the network, without a worker."""
    port = free_port()
    write_login(home, provider, port)
    with Services(host="0.0.0.0", port=port, worker=False, log_dir=home / "logs") as services:
        services.wait_ready()
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def new_page(open_page: Callable[..., tuple[Page, Any]]) -> Iterator[Callable[[], Page]]:
    """A watched page, of which the provider's own style sheet is excused: it comes from elsewhere."""
    watches = []

    def make() -> Page:
        page, watch = open_page()
        watches.append(watch)
        return page

    yield make
    for watch in watches:
        for kept in (watch.foreign, watch.complaints):
            kept[:] = [text for text in kept if "/@picocss/" not in text]


@pytest.fixture
def visit(url: str, new_page: Callable[[], Page], settled: Callable[[Page], None]) -> Callable[..., Page]:
    """A page of somebody who has just logged in."""

    def logged_in(name: str) -> Page:
        page = new_page()
        log_in(page, url, name)
        settled(page)
        return page

    return logged_in


def log_out(page: Page, address: str) -> None:
    """Log out, at which the provider asks whether there as well; then nobody is logged in here."""
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/oauth2/end_session**", timeout=60_000)
    page.goto(address)
    page.get_by_role("button", name="Log in").wait_for(timeout=60_000)


def headings(page: Page) -> list[str]:
    return page.get_by_role("heading", level=1).all_inner_texts()


@pytest.mark.parametrize("path", ["/", *(f"/{name}" for name in PAGES), "/audit", "/run?id=x", "/new_study?w_fit=true"])
def test_nobody_sees_a_page_before_log_in(path: str, url: str, open_page: Any, settled: Any) -> None:
    page, _ = open_page()
    page.goto(url + path)
    page.get_by_role("button", name="Log in").wait_for(timeout=60_000)
    settled(page)
    assert headings(page) == ["Trilemma"]
    assert page.get_by_test_id("stTopNavLink").count() == 0
    assert page.get_by_test_id("stSidebarNav").count() == 0
    assert page.get_by_role("dialog").count() == 0


def test_each_role_sees_what_it_may(visit: Callable[..., Page], store: Store, url: str, settled: Any) -> None:
    titles = [info.title for name, info in PAGES.items() if name != CLUSTER]
    wanted = {
        "vera": [title for title in titles if title != "New study"],
        "anton": titles,
        "ada": [*titles, "Audit"],
    }
    for name, pages in wanted.items():
        page = visit(name)
        links = page.get_by_test_id("stTopNavLink")
        assert [link.inner_text().splitlines()[-1] for link in links.all()] == pages
        assert page.get_by_text(f"{name.title()}, {PEOPLE[name]}").is_visible()
        page.context.close()
    assert {entry.who for entry in store.audit() if entry.action == "sign in"} >= {f"{n}@example.org" for n in wanted}


def test_whoever_has_no_role_is_turned_away(url: str, new_page: Callable[[], Page], store: Store) -> None:
    page = new_page()
    page.goto(url)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("button", name="nora", exact=True).click()
    page.get_by_text("has no role here").wait_for(timeout=60_000)
    assert headings(page) == []
    entry = next(entry for entry in store.audit() if entry.who == "nora@example.org")
    assert (entry.action, entry.outcome) == ("sign in", Outcome.REFUSED)
    log_out(page, url)


def test_an_analyst_cancels_their_run_and_it_is_in_the_log(
    visit: Callable[..., Page], url: str, store: Store, settled: Any
) -> None:
    waiting = store.runs(states=[RunState.WAITING])
    page = visit("anton")
    page.goto(f"{url}/queue")
    page.get_by_role("button", name="Cancel", exact=True).first.click()
    wait_for(lambda: store.run(waiting[0].id).state is RunState.CANCELLED)
    entry = store.audit(1)[0]
    assert (entry.who, entry.action, entry.subject) == ("anton@example.org", "cancel a run", waiting[0].id)
    log_out(page, f"{url}/queue")


URLS = [
    "new_study?w_short_chat=true&name=x", "models?from={artifact}&make=Q2_K", "models?source=Path", "audit",
    "models?source=Hugging+Face+hub&hub=x", "queue?study={study}", "queue?show=Failed", "run?id={failed}",
    "compare?tab=vote", "compare?tab=tryout",
]  # fmt: skip
ACTING = ("Cancel", "Retry", "Pause", "Resume", "Delete", "Add", "Measure", "Make", "Quantise", "Convert", "Remove",
          "Download", "A is better", "Ask")  # fmt: skip


def test_a_viewer_gets_nothing_by_any_address(
    visit: Callable[..., Page], url: str, home: Path, store: Store, settled: Any
) -> None:
    page = visit("vera")
    before = content(home)
    failed = store.runs(states=[RunState.FAILED])[0]
    names = {"artifact": store.artifacts()[0].id[:12], "study": failed.study_ids[0], "failed": failed.id}
    sent: list[str] = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: sent.append(str(frame))))
    for address in URLS:
        page.goto(f"{url}/{address.format(**names)}")
        page.get_by_role("heading", level=1).wait_for(timeout=60_000)
        settled(page)
        labels = page.get_by_role("button").all_inner_texts()
        # Those of a download of what is shown are everybody's.
        acting = [label for label in labels if label.startswith(ACTING) and "JSON" not in label]
        assert acting == [], address
        assert SECRET_FOLDER not in page.content(), address
        assert str(home) not in page.content(), address
    assert sent
    assert not any(SECRET_FOLDER in frame or str(home) in frame for frame in sent)
    assert content(home) == before
    refused = {entry.action for entry in store.audit() if entry.who == "vera@example.org"} - {"sign in"}
    assert {"submit a study", "read the audit log"} <= refused


def request(method: str, address: str, data: bytes | None = None, **headers: str) -> int:
    asked = urllib.request.Request(address, data=data, method=method, headers=headers)
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return int(error.code)


def test_streamlits_own_addresses_change_nothing(url: str, home: Path, visit: Callable[..., Page]) -> None:
    before = content(home)
    page = visit("vera")
    cookies = "; ".join(f"{cookie['name']}={cookie['value']}" for cookie in page.context.cookies())
    document = b'{"arrival_s": 0, "prompt": "x", "output_tokens": 2}\n'
    for session in ("x", "../../x"):
        assert request("PUT", f"{url}/_stcore/upload_file/{session}/1", document, Cookie=cookies) >= 400
        assert request("DELETE", f"{url}/_stcore/upload_file/{session}/1", Cookie=cookies) in (204, 400, 401, 403, 404)
    for address in ("media/../trilemma.db", "media/x", "component/x/../../../secrets.toml", "app/static/secrets.toml",
                    "_stcore/bidi-components/x", "secrets.toml", "trilemma.db"):  # fmt: skip
        asked = urllib.request.Request(f"{url}/{address}", headers={"Cookie": cookies})
        try:
            with urllib.request.urlopen(asked, timeout=10) as answer:
                body = answer.read()
        except urllib.error.HTTPError as error:
            body = error.read()
        assert b"hush-hush" not in body
        assert b"SQLite format" not in body
    call = b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}'
    for address in ("_stcore/agent/interact", "_stcore/agent/mcp"):
        assert (
            request("POST", f"{url}/{address}", call, **{"Content-Type": "application/json", "Cookie": cookies}) >= 400
        )
    assert content(home) == before


def test_a_log_in_ends_when_its_time_is_over(
    visit: Callable[..., Page], url: str, home: Path, provider: str, store: Store, settled: Any
) -> None:
    page = visit("anton")
    page.goto(f"{url}/queue")
    settled(page)
    rules = (home / "access.toml").read_text()
    try:
        (home / "access.toml").write_text(rules.replace("sign_in_hours = 12", "sign_in_hours = 0.0001"))
        page.get_by_text("Done", exact=True).first.click()  # not what is shown already, or nothing would be asked
        page.get_by_role("button", name="Log in").wait_for(timeout=60_000)
        settled(page)
        assert headings(page) == ["Trilemma"]
    finally:
        (home / "access.toml").write_text(rules)


def test_a_role_that_is_taken_away_is_gone_at_the_next_click(
    visit: Callable[..., Page], url: str, home: Path, store: Store, settled: Any
) -> None:
    with open_store(f"sqlite:///{home / 'trilemma.db'}") as worker:
        for run in worker.runs(states=[RunState.FAILED, RunState.CANCELLED]):
            worker.retry(run.id)
    page = visit("anton")
    page.goto(f"{url}/queue")
    settled(page)
    before = content(home)
    rules = (home / "access.toml").read_text()
    try:
        (home / "access.toml").write_text(f'{rules}[users]\n"anton@example.org" = "viewer"\n')
        page.get_by_role("button", name="Cancel", exact=True).first.click()
        page.get_by_text("Anton, viewer").wait_for(timeout=60_000)
        settled(page)
        assert page.get_by_role("button", name="Cancel", exact=True).count() == 0
    finally:
        (home / "access.toml").write_text(rules)
    assert content(home) == before


def test_no_secret_is_anywhere_but_in_its_file(home: Path, store: Store) -> None:
    for path in [*home.rglob("*.log"), *home.glob("trilemma.db*")]:
        data = path.read_bytes()
        assert b"hush-hush" not in data, path
        assert b"k" * 40 not in data, path
