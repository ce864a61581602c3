"""Roles, everything that changes something or tells of the server's inside, and which role may do which."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType


class Role(StrEnum):
    """What somebody is here, from the least to the most."""

    VIEWER = "viewer"
    ANALYST = "analyst"
    ADMIN = "admin"

    def includes(self, other: Role) -> bool:
        """Whether whoever has this role may do all that ``other`` may."""
        ranks = list(Role)
        return ranks.index(self) >= ranks.index(other)


class Action(StrEnum):
    """Everything but looking at results."""

    SIGN_IN = "sign in"
    SUBMIT = "submit a study"
    CANCEL_RUN = "cancel a run"
    RETRY_RUN = "retry a run"
    DELETE_STUDY = "delete a study"
    PAUSE = "pause the queue"
    RESUME = "resume the queue"
    ADD_WEIGHTS = "add weights"
    ADD_PATH = "add weights by path"
    ADD_ENDPOINT = "add an endpoint"
    NAME_ADDRESS = "name an address to be asked"
    """A judge's, or Prometheus'."""
    QUANTISE = "quantise"
    CONVERT = "convert"
    DELETE_WEIGHTS = "delete weights"
    STOP_TASK = "stop a task"
    ADD_FILE = "add a file"
    IMPORT = "import results"
    TRY_OUT = "try out"
    VOTE = "vote"
    UNDO_VOTE = "take a vote back"
    CHANGE_SAMPLE = "change the sample study"
    FORGET_MACHINE = "take a machine off the list"
    SEE_SERVER = "see the server's inside"
    """Paths, logs, and what errors say of them."""
    READ_AUDIT = "read the audit log"


NEEDS = MappingProxyType(
    {
        Action.SIGN_IN: Role.VIEWER,
        Action.SUBMIT: Role.ANALYST,
        Action.CANCEL_RUN: Role.ANALYST,
        Action.RETRY_RUN: Role.ANALYST,
        Action.DELETE_STUDY: Role.ANALYST,
        Action.PAUSE: Role.ADMIN,
        Action.RESUME: Role.ADMIN,
        Action.ADD_WEIGHTS: Role.ANALYST,
        # What a path names is read with the server's rights; what an address names is asked from the server's network,
        # with a key out of the server's environment.
        Action.ADD_PATH: Role.ADMIN,
        Action.ADD_ENDPOINT: Role.ADMIN,
        Action.NAME_ADDRESS: Role.ADMIN,
        Action.QUANTISE: Role.ANALYST,
        Action.CONVERT: Role.ANALYST,
        Action.DELETE_WEIGHTS: Role.ANALYST,
        Action.STOP_TASK: Role.ANALYST,
        Action.ADD_FILE: Role.ANALYST,
        Action.IMPORT: Role.ANALYST,
        Action.TRY_OUT: Role.ANALYST,
        Action.VOTE: Role.ANALYST,
        Action.UNDO_VOTE: Role.ANALYST,
        Action.CHANGE_SAMPLE: Role.ADMIN,
        Action.FORGET_MACHINE: Role.ADMIN,
        Action.SEE_SERVER: Role.ANALYST,
        Action.READ_AUDIT: Role.ADMIN,
    }
)
"""The least role that each takes."""

OWN_ONLY = frozenset(
    {
        Action.CANCEL_RUN,
        Action.RETRY_RUN,
        Action.DELETE_STUDY,
        Action.DELETE_WEIGHTS,
        Action.STOP_TASK,
        Action.UNDO_VOTE,
    }
)
"""Of other people's things, these are for administrators."""

NOBODY_ELSE = ""
"""Stands for the owner of what is nobody else's."""
