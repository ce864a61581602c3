"""The sample study: what this tool measured on one machine, in the package, so that there is something true to look at.

``pack`` makes the file out of a store, ``loading`` puts it into one, and ``words`` says on every page whose figures
they are. How the store keeps it apart from the user's own is written in :mod:`trilemma.store.sample`.
"""
