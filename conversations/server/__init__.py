"""Run the site: the server, housekeeping, checks before the start, health, and the fake upstream.

Owns no tables. `manage.py serve` prepares the database and the static files, then serves the site in one process.
Uses every subject.
"""
