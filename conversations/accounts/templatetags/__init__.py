"""Template tags for the accounts."""
