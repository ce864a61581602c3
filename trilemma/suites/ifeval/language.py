"""Which language a text is in, by langdetect, as IFEval's reference does; here it gives the same answer every time."""

from __future__ import annotations

_LONGEST = 100_000
"""Characters that are looked at. langdetect itself looks at the first 10,000 that are no addresses; what is longer only
costs time."""


def is_in(text: str, language: str) -> bool:
    """Whether ``text`` is in ``language`` (ISO 639-1); one in which there is nothing to go by counts as being so."""
    import langdetect  # noqa: PLC0415 (loads a profile of each language; only two in ten prompts need it)

    # It draws at random. The reference leaves that to chance.
    langdetect.DetectorFactory.seed = 0
    try:
        return bool(langdetect.detect(text[:_LONGEST]) == language)
    except langdetect.LangDetectException:
        return True
