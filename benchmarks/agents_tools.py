"""The leaderboard's own verdicts, in an environment of its own: cases on standard input, verdicts on standard output.

Its checkers are used as they ship. Only the table of models is left out, which imports the client libraries of every
provider and is asked a single thing here: whether dots in names became underscores, which they did not.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import types
from typing import Any


def _without_models() -> None:
    table = types.ModuleType("bfcl_eval.constants.model_config")
    table.MODEL_CONFIG_MAPPING = {"reference": types.SimpleNamespace(underscore_to_dot=False)}  # type: ignore[attr-defined]
    sys.modules[table.__name__] = table


def _calls_only(decoded: Any) -> bool:
    """What the leaderboard's runner asks of a decoded answer before it is checked."""
    return isinstance(decoded, list) and all(isinstance(one, dict) for one in decoded)


def single(case: dict[str, Any]) -> bool | None:
    """Whether an answer is right; None where the checker itself fails on it."""
    from bfcl_eval.constants.enums import Language
    from bfcl_eval.eval_checker.ast_eval.ast_checker import ast_checker
    from bfcl_eval.model_handler.utils import default_decode_ast_prompting

    try:
        decoded = default_decode_ast_prompting(case["text"])
    except Exception:  # as its runner does
        return bool(case["category"] == "irrelevance")
    if case["category"] == "irrelevance":
        return not decoded
    if not _calls_only(decoded):
        return False
    functions, answers = case["functions"], case["answers"]
    try:
        verdict = ast_checker(functions, decoded, answers, Language.PYTHON, case["category"], "reference")
    except Exception:
        return None
    return bool(verdict["valid"])


def several(number: int, case: dict[str, Any]) -> bool | None:
    """Whether the answers of each turn solve a task; None where the checker itself fails on them."""
    from bfcl_eval.eval_checker.multi_turn_eval.multi_turn_checker import (
        multi_turn_checker,
    )
    from bfcl_eval.model_handler.utils import default_decode_execute_prompting

    decoded: list[list[list[str]]] = []
    for turn in case["turns"]:
        decoded.append([])
        for text in turn:
            try:
                steps = default_decode_execute_prompting(text)
            except Exception:  # its runner ignores such an answer
                continue
            if steps:
                decoded[-1].append(steps)
    try:
        # Systems are kept by the model's name: each case gets its own.
        verdict = multi_turn_checker(decoded, case["solution"], case["entry"], "multi_turn_base", f"case{number}")
    except Exception:
        return None
    return bool(verdict["valid"])


def main() -> None:
    """Read the cases, judge them."""
    _without_models()
    given = json.loads(sys.stdin.read())
    with tempfile.TemporaryDirectory() as folder:
        os.environ["BFCL_PROJECT_ROOT"] = folder
        verdicts = {
            "single": [single(case) for case in given["single"]],
            "several": [several(number, case) for number, case in enumerate(given["several"])],
        }
    sys.stdout.write("\n" + json.dumps(verdicts) + "\n")


if __name__ == "__main__":
    main()
