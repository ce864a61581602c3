"""The Streamlit entry: navigation, theme, nothing else."""
