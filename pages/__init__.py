"""The dashboard's pages, one file a page; with ``app.py`` the only code that imports Streamlit."""

import pandas as pd

# Texts in pyarrow's memory take microseconds more each time that one is looked at: in tables of this size, a quarter of
# what an answer costs.
pd.options.mode.string_storage = "python"
