"""A prompt of the user's own, answered live by a few configurations, one after the other.

The dashboard starts a host for each prompt (``python -m trilemma.tryout``). It holds the device as a run does, so that
neither disturbs the other, and gives each configuration a process of its own (``python -m trilemma.tryout.answering``),
loaded alone and metered. They talk in JSON objects, one a line (:mod:`trilemma.tryout.messages`).
"""
