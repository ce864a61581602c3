"""Log-probabilities of given continuations, with llama.cpp evaluating every distinct token once.

Each request becomes a tree: its context is the trunk, its continuations branch off, and beginnings that continuations
share are one branch. A token of the tree carries the sequence ids of all continuations that run through it, so that one
``llama_decode`` evaluates several requests at once and each continuation attends to its own past only. The last token
of a continuation is scored but never evaluated: nothing follows it. What all requests begin with (worked examples) is
evaluated once and stays in the cache.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from trilemma.engines.base import ChoiceRequest, ChoiceScore, FloatArray
from trilemma.engines.llama_cpp.native import Batch, decode_error, native
from trilemma.errors import ContextError, EngineError

TOKENS_PER_DECODE = 512
"""Several requests are packed into so many tokens: enough for full speed, few enough to keep attention short."""
SEQUENCES_PER_DECODE = 128
"""llama.cpp itself takes at most 256 (LLAMA_MAX_SEQ)."""
LOGITS_BYTES = 256 * 2**20
"""What the logits of one decode may take; a 262k vocabulary costs 1 MB a row."""
SHARED_FROM = 32
"""A common beginning of so many tokens is kept: a shorter one is not worth the longer attention."""
WINDOW = 64
"""Requests are packed among so many at a time, so that answers keep coming while the rest is evaluated."""


class ScoringHost(Protocol):
    """The loaded model, as the scorer needs it."""

    model: Any
    """The ``llama_model`` pointer."""
    context_length: int
    """Tokens that a context and one continuation may take together."""
    vocabulary_size: int
    """Width of the logits."""

    def new_context(self, *, n_ctx: int, n_batch: int, n_ubatch: int, n_seq_max: int) -> Any:
        """A ``llama_context`` of the configuration's settings; the caller frees it.

        It has one cache for all sequences, which forgets nothing by itself.
        """


@dataclass
class Tree:
    """The distinct tokens of one request, parents before children.

    ``paths`` holds for each continuation its (index of the token whose logits are read, token that is scored) pairs.
    """

    tokens: list[int]
    positions: list[int]
    sequences: list[list[int]]
    paths: list[list[tuple[int, int]]]
    wanted: set[int] = field(default_factory=set)

    @property
    def branches(self) -> int:
        """How many sequence ids the tree takes."""
        return len(self.paths)

    def beyond(self, count: int) -> Tree:
        """What is left when the first ``count`` tokens of the trunk, but not its last, are in the cache already."""
        if not count:
            return self
        return Tree(
            self.tokens[count:],
            self.positions[count:],
            self.sequences[count:],
            [[(index - count, token) for index, token in path] for path in self.paths],
            {index - count for index in self.wanted},
        )


def tree_of(request: ChoiceRequest) -> Tree:
    """Lay out ``request`` so that what its continuations share is there once.

    Raises:
        EngineError: the context is empty, so that there is nothing to predict the first token from.
    """
    if not request.context:
        raise EngineError("A continuation cannot be scored after nothing.", "Give at least one token of context.")
    everyone = list(range(len(request.continuations)))
    trunk = len(request.context)
    tree = Tree(list(request.context), list(range(trunk)), [everyone] * trunk, [])
    known: dict[tuple[int, int], int] = {}
    for branch, continuation in enumerate(request.continuations):
        parent, path = trunk - 1, []
        for depth, token in enumerate(continuation):
            path.append((parent, token))
            tree.wanted.add(parent)
            if depth == len(continuation) - 1:
                break
            node = known.setdefault((parent, token), len(tree.tokens))
            if node == len(tree.tokens):
                tree.tokens.append(token)
                tree.positions.append(trunk + depth)
                tree.sequences.append([])
            tree.sequences[node].append(branch)
            parent = node
        tree.paths.append(path)
    return tree


def shared_beginning(requests: Sequence[ChoiceRequest]) -> int:
    """How many tokens all contexts begin with, the last token of each left out; 0 where it is not worth keeping."""
    if len(requests) < 2:
        return 0
    first = requests[0].context
    length = min(len(request.context) for request in requests) - 1
    for request in requests[1:]:
        context = request.context
        if list(context[:length]) != list(first[:length]):
            pairs = zip(first[:length], context, strict=False)
            length = next(index for index, (mine, its) in enumerate(pairs) if mine != its)
    return length if length >= SHARED_FROM else 0


def distinct_tokens(requests: Sequence[ChoiceRequest]) -> int:
    """How many tokens are evaluated for ``requests``: each distinct one once, last tokens of continuations never."""
    shared = shared_beginning(requests)
    return shared + sum(len(tree_of(request).tokens) - shared for request in requests)


class ChoiceScorer:
    """Scores requests in a context of its own, which is freed when the last score was taken."""

    def __init__(self, host: ScoringHost) -> None:
        self._api = native()
        self._host = host
        stateful = self._api.llama_model_is_recurrent(host.model) or self._api.llama_model_is_hybrid(host.model)
        # A recurrent state cannot branch inside one batch: such models evaluate every choice in full.
        self._branching = not stateful
        self._row = np.empty(host.vocabulary_size, dtype=np.float32)

    def score(self, requests: Sequence[ChoiceRequest]) -> Iterator[ChoiceScore]:
        """Scores in the order of ``requests``.

        Raises:
            ContextError: a context with its longest continuation is longer than the configured context.
            EngineError: llama.cpp could not evaluate them.
        """
        shared = shared_beginning(requests) if self._branching else 0
        groups = [[tree.beyond(shared) for tree in self._trees(request)] for request in requests]
        trees = [tree for group in groups for tree in group]
        if not trees:
            return
        longest = max(len(tree.tokens) for tree in trees)
        size = max(TOKENS_PER_DECODE, -(-longest // 256) * 256)
        branches = max(SEQUENCES_PER_DECODE, *(tree.branches for tree in trees))
        rows_limit = max(1, LOGITS_BYTES // (4 * self._host.vocabulary_size))
        rows = max(rows_limit, *(len(tree.wanted) for tree in trees))
        # llama.cpp sets aside logits for a whole micro-batch, so a large vocabulary wants a smaller one.
        micro = max(32, min(TOKENS_PER_DECODE, rows_limit))
        context = self._host.new_context(n_ctx=shared + size, n_batch=size, n_ubatch=micro, n_seq_max=branches)
        batch = Batch(size, branches)
        try:
            self._keep(context, batch, requests[0].context[:shared], branches)
            for start in range(0, len(groups), WINDOW):
                window = groups[start : start + WINDOW]
                scores: dict[tuple[int, int], list[tuple[float, bool]]] = {}
                for pack in _packs(window, size, branches, rows):
                    found = self._decode(context, batch, [window[group][part] for group, part in pack], shared)
                    scores.update(zip(pack, found, strict=True))
                for index, group in enumerate(window):
                    mine = [one for part in range(len(group)) for one in scores[index, part]]
                    yield ChoiceScore([logprob for logprob, _ in mine], [greedy for _, greedy in mine])
        finally:
            self._api.llama_free(context)

    def _trees(self, request: ChoiceRequest) -> list[Tree]:
        longest = len(request.context) + max((len(c) for c in request.continuations), default=0) - 1
        if longest > self._host.context_length:
            raise ContextError(
                f"A question of {longest} tokens does not fit the context of {self._host.context_length} tokens.",
                "Configure a larger context.",
            )
        if self._branching:
            return [tree_of(request)]
        return [tree_of(ChoiceRequest(request.context, [one])) for one in request.continuations]

    def _keep(self, context: Any, batch: Batch, tokens: Sequence[int], branches: int) -> None:
        """Evaluate ``tokens`` as the beginning of every sequence."""
        for start in range(0, len(tokens), batch.capacity):
            part = tokens[start : start + batch.capacity]
            here = slice(0, len(part))
            batch.tokens[here] = part
            batch.positions[here] = range(start, start + len(part))
            batch.seq_counts[here] = branches
            batch.seq_ids[here] = range(branches)
            batch.outputs[here] = 0
            status = self._api.llama_decode(context, batch.first(len(part)))
            if status:
                raise decode_error(status)

    def _decode(self, context: Any, batch: Batch, trees: Sequence[Tree], kept: int) -> list[list[tuple[float, bool]]]:
        """Evaluate ``trees`` in one batch, after ``kept`` tokens; for each its continuations' (logprob, greedy)."""
        count = first_sequence = 0
        rows: list[dict[int, int]] = []
        wanted = 0
        for tree in trees:
            size = len(tree.tokens)
            here = slice(count, count + size)
            batch.tokens[here] = tree.tokens
            batch.positions[here] = tree.positions
            batch.seq_counts[here] = [len(sequences) for sequences in tree.sequences]
            for index, sequences in enumerate(tree.sequences, count):
                batch.seq_ids[index, : len(sequences)] = [first_sequence + sequence for sequence in sequences]
            asked = sorted(tree.wanted)
            batch.outputs[here] = 0
            batch.outputs[[count + index for index in asked]] = 1
            rows.append({index: row for row, index in enumerate(asked, wanted)})
            wanted += len(asked)
            count += size
            first_sequence += tree.branches
        # All sequences forget what came after what is kept.
        self._api.llama_memory_seq_rm(self._api.llama_get_memory(context), -1, kept, -1)
        status = self._api.llama_decode(context, batch.first(count))
        if status:
            raise decode_error(status)
        pointer = self._api.llama_get_logits(context)
        logits: FloatArray = np.empty((0, self._host.vocabulary_size), dtype=np.float32)
        if wanted:
            logits = np.ctypeslib.as_array(pointer, shape=(wanted, self._host.vocabulary_size))
        rates = self._log_probabilities(
            logits,
            [
                (mine[index], token)
                for tree, mine in zip(trees, rows, strict=True)
                for path in tree.paths
                for index, token in path
            ],
        )
        scores = iter(rates)
        return [[_total([next(scores) for _ in path]) for path in tree.paths] for tree in trees]

    def _log_probabilities(self, logits: FloatArray, cells: Sequence[tuple[int, int]]) -> list[tuple[float, bool]]:
        """Of each (row, token) the log-probability and whether no other token of the row has a higher one.

        A row at a time, which stays in the CPU's cache.
        """
        tops, normalisers = [], []
        for row in logits:
            top = row.max()
            np.subtract(row, top, out=self._row)
            np.exp(self._row, out=self._row)
            tops.append(float(top))
            normalisers.append(float(top) + math.log(float(self._row.sum())))
        values = [(row, float(logits[row, token])) for row, token in cells]
        return [(value - normalisers[row], value >= tops[row]) for row, value in values]


def _total(path: Sequence[tuple[float, bool]]) -> tuple[float, bool]:
    return math.fsum(logprob for logprob, _ in path), all(greedy for _, greedy in path)


def _packs(groups: Sequence[Sequence[Tree]], tokens: int, branches: int, rows: int) -> list[list[tuple[int, int]]]:
    """Places (group, tree within it) packed first-fit, largest first, within the limits of one decode."""
    places = [(group, part) for group, parts in enumerate(groups) for part in range(len(parts))]
    places.sort(key=lambda place: -len(groups[place[0]][place[1]].tokens))
    packs: list[tuple[list[int], list[tuple[int, int]]]] = []
    for place in places:
        tree = groups[place[0]][place[1]]
        need = (len(tree.tokens), tree.branches, len(tree.wanted))
        fitting = (one for one in packs if all(have >= want for have, want in zip(one[0], need, strict=True)))
        left, pack = next(fitting, ([tokens, branches, rows], []))
        if not pack:
            packs.append((left, pack))
        left[:] = [have - want for have, want in zip(left, need, strict=True)]
        pack.append(place)
    return [pack for _, pack in packs]
