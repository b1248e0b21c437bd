"""The evaluation on pages of other subjects."""
