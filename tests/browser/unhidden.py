"""``streamlit``, for a dashboard whose pages hide nothing from anybody: what is left is what guards each action.

``python tests/browser/unhidden.py run app.py ...``
"""

from __future__ import annotations

import sys

from streamlit.web import cli

from pages.parts import entrance
from trilemma.access import guard
from trilemma.store import Store

if __name__ == "__main__":
    entrance.may = lambda *_: True
    guard.RedactedStore = Store  # type: ignore[misc, assignment]
    sys.exit(cli.main(prog_name="streamlit"))
