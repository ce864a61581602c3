"""llama-cpp-python's own server: a real one, with real weights; conformance, and a whole run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.endpoint.conformance import conform, running
from tests.waiting import free_port
from trilemma.catalog.catalog import Catalog
from trilemma.schema import Configuration, RunState, StudySpec, SuiteSpec, WorkloadSpec
from trilemma.settings import Settings
from trilemma.store import Store
from trilemma.study import submit

pytestmark = pytest.mark.llama


@pytest.fixture(scope="module")
def address(smollm2_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    command = [
        sys.executable, "-m", "llama_cpp.server", "--model", str(smollm2_path), "--model_alias", "smollm2",
        "--n_ctx", "1024", "--interrupt_requests", "false", "--host", "127.0.0.1", "--port", str(port),
    ]  # fmt: skip
    with running(command, port, tmp_path_factory.mktemp("server") / "log") as url:
        yield url


def test_it_conforms(address: str) -> None:
    found = conform(address, "smollm2")
    assert found.exact_lengths
    assert found.metered


def test_a_whole_run_meters_the_server_and_says_what_it_cannot_give(
    address: str, store: Store, settings: Settings
) -> None:
    artifact = Catalog(store, settings).add_endpoint(address, quantization="Q4_1")
    assert artifact.label == "smollm2 Q4_1"
    chat = WorkloadSpec(name="short_chat", prompt_tokens=64, output_tokens=12, requests=3)
    configuration = Configuration(
        artifact_id=artifact.id, engine="endpoint", settings={"input_price": 0.1, "output_price": 0.4}
    )
    spec = StudySpec(
        name="endpoint", configurations=(configuration,), repeats=1, idle_s=0.3,
        workloads=(chat, chat.model_copy(update={"concurrency": 2, "requests": 6})),
        suites=(SuiteSpec(name="hellaswag", limit=2), SuiteSpec(name="perplexity", limit=1)),
    )  # fmt: skip
    submit(store, spec)
    run = store.claim_next("test")
    assert run is not None
    subprocess.run([sys.executable, "-m", "trilemma.bench", run.id], env=os.environ, check=False)
    done = store.run(run.id)
    assert done.state is RunState.DONE, done.reason + done.log_tail
    found = {m.key: m for m in store.measurements(run.id)}
    # The server holds the weights: 92 MiB of them, and what it takes to run them.
    assert (found["peak_memory_bytes"].value or 0) > 90 * 2**20
    assert (found["energy_per_token_j@short_chat"].value or 0) > 0
    assert (found["output_tps@short_chat x2"].value or 0) > 0
    cost = found["cost_per_million_tokens@short_chat"].value
    assert cost is not None
    assert 0.4 < cost < 0.4 + 0.1 * 90 / 6
    assert "weights_bytes" not in found
    for key in ("accuracy@hellaswag", "perplexity@perplexity"):
        assert found[key].value is None
        assert not found[key].provenance.valid
        assert found[key].provenance.reasons[0]
    requests = [r for r in store.requests(run.id) if not r.warmup]
    assert len(requests) == 9
    assert not any(r.error for r in requests)
    assert all(abs(r.prompt_tokens - 64) <= 4 for r in requests)


def test_a_server_elsewhere_is_not_metered_as_if_it_were_here(store: Store, settings: Settings) -> None:
    from trilemma.engines.endpoint.process import find_server

    found = find_server("http://192.0.2.7:8000/v1", None)
    assert found.pid is None
    assert "another machine" in found.reason
