"""Keeps a run's GPUs for itself: which ones it uses, and who else is on them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from trilemma import registry
from trilemma.bench.gpu_figures import HELD
from trilemma.engines.base import GpuEngine
from trilemma.errors import RunError
from trilemma.meters.base import Intruder, Meter
from trilemma.meters.gpu.meter import GpuMeter
from trilemma.records import HostInfo, Sample
from trilemma.schema import Phase, RunSpec

_TOLD = 5
"""How many processes a message names."""


class GpuWatch:
    """Watches the GPUs of one run.

    Args:
        meters: The sampler's; without a GPU meter among them there is nothing to watch.
        spec: What is measured.
    """

    def __init__(self, meters: Iterable[Meter], spec: RunSpec) -> None:
        self._meter = next((meter for meter in meters if isinstance(meter, GpuMeter)), None)
        self._spec = spec
        self._declared = 0
        self._held: set[str] = set()
        self._read_while_serving: set[str] = set()
        self._met: dict[tuple[str, int], Intruder] = {}

    def expect(self) -> None:
        """Ask the engine how many GPUs it will take.

        Raises:
            TrilemmaError: there is no such engine.
        """
        configuration = self._spec.configuration
        engine = registry.load("trilemma.engines", configuration.engine)()
        if isinstance(engine, GpuEngine):
            self._declared = engine.gpus_used(configuration.settings)

    @property
    def used(self) -> tuple[str, ...]:
        """Ids of the GPUs that the run uses, as far as is known now.

        Those on which it holds memory, and those that the engine declares, unless it is seen to serve without them. One
        that cannot be read is thus among them: a sum without it would look like a saving.
        """
        visible = [device.id for device in self._meter.devices()] if self._meter else []
        visible = visible or [str(number) for number in range(self._declared)]
        empty = self._read_while_serving - self._held
        return tuple(
            gpu for gpu in visible if gpu in self._held or (gpu in visible[: self._declared] and gpu not in empty)
        )

    @property
    def cards(self) -> tuple[str, ...]:
        """The numbers of the GPUs that those are on."""
        return tuple(dict.fromkeys(gpu.partition("-")[0] for gpu in self.used))

    def take(self, samples: Sequence[Sample]) -> None:
        """Take in samples: where the run holds memory it computes."""
        for sample in samples:
            read = {
                name[len(HELD) + 1 :]: value for name, value in sample.values.items() if name.startswith(f"{HELD}.")
            }
            if sample.phase in (Phase.WARMUP, Phase.SPEED, Phase.GENERATION, Phase.PERFORMANCE):
                self._read_while_serving |= read.keys()
            self._held |= {gpu for gpu, held in read.items() if held > 0}

    def check(self) -> None:
        """Look who else is on the run's GPUs.

        Raises:
            RunError: somebody is, and sharing is not allowed; the message names them.
        """
        cards = self.cards
        others = [one for one in self._meter.intruders() if one.device in cards] if self._meter and cards else []
        self._met |= {(one.label, one.pid): one for one in others}
        if others and not self._spec.allow_shared_gpu:
            raise RunError(
                f"{_sentence(others)}.",
                "End them, or choose another GPU with CUDA_VISIBLE_DEVICES. Or allow it with "
                "TRILEMMA_ALLOW_SHARED_GPU=true: runs that share a GPU are then measured and flagged as disturbed.",
            )

    def disturbances(self) -> tuple[str, ...]:
        """Who was met on the run's GPUs although sharing was allowed, in a sentence; empty when nobody was."""
        return (_sentence(list(self._met.values())),) if self._met else ()

    def host(self, host: HostInfo) -> HostInfo:
        """``host`` with its visible GPUs; the meter must have been started."""
        if self._meter is None:
            return host
        names = tuple(f"{device.label}: {device.name}" for device in self._meter.devices())
        return host.model_copy(update={"gpus": names, "gpu_driver": self._meter.version})


def _sentence(others: Sequence[Intruder]) -> str:
    labels = ", ".join(dict.fromkeys(one.label for one in others))
    told = [
        f"{one.name} (pid {one.pid}" + ("" if one.memory_bytes is None else f", {one.memory_bytes / 1e9:.1f} GB") + ")"
        for one in others[:_TOLD]
    ]
    more = f" and {len(others) - _TOLD} more" if len(others) > _TOLD else ""
    return f"Processes of others use {labels}: {', '.join(told)}{more}"
