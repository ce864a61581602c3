"""One run, start to end, in processes of its own: phases, windows, records.

``python -m trilemma.bench RUN`` is the supervisor: it samples the meters and writes to the store. It starts the
measured process (:mod:`trilemma.bench.measure`), which alone loads the engine, and reads its events from a pipe.
"""
