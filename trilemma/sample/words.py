"""How the sample study, and studies out of files, are spoken of."""

from __future__ import annotations

from datetime import datetime

from trilemma.records import HostInfo, SampleFacts

WITHHELD = "[Not in the sample study: the questions belong to their authors. The item's id names it.]"
"""Stands in place of questions and expected answers."""
NO_LOG = "[Not in the sample study: a log speaks of the machine's folders.]"


def machine(host: HostInfo) -> str:
    """``AMD EPYC 7B13, 2 cores, Linux, virtual``."""
    system = host.system.split()[0] if host.system else host.machine
    cores = f"{host.cores} core{'' if host.cores == 1 else 's'}"
    return ", ".join([host.cpu, cores, system, *(["virtual"] if host.virtualized else [])])


def day(moment: datetime) -> str:
    """``25 November 2026``."""
    return f"{moment.day} {moment:%B %Y}"


def study_name(host: HostInfo, moment: datetime) -> str:
    """What the sample study is called: ``Sample: AMD EPYC 7B13, 2 cores, Linux, virtual, 2026-11-25``."""
    return f"Sample: {machine(host)[:90]}, {moment:%Y-%m-%d}"


def note(facts: SampleFacts) -> str:
    """What stands by every figure of it."""
    return f"{'Imported' if facts.imported else 'Sample'} study, {whence(facts)}"


def whence(facts: SampleFacts) -> str:
    """Where the figures come from: ``measured on ..., not on yours.``"""
    return f"measured on {machine(facts.host)}, on {day(facts.measured_at)}, not on yours."
