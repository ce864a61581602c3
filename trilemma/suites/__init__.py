"""Sets of questions with a way to score the answers, one small module each."""
