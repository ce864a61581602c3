"""The dashboard's pages, one file a page; with ``app.py`` the only code that imports Streamlit."""
