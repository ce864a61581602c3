"""Claims about Trilemma, each a module that measures both sides and says whether the claim holds.

``make bench NAME=fidelity`` runs ``python -m benchmarks.fidelity``: it prints what it does, and as its last line one
JSON object ``{"name": ..., "figures": {...}, "limits": {...}, "holds": true}``; it exits 0 only if every limit holds.
"""
