"""Plotly figures out of analysis results; no Streamlit, no store."""
