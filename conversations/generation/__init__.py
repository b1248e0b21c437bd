"""Writing answers: who makes the upstream calls, how their text is kept, and how viewers follow it."""
