"""The engine that writes answers: it calls the upstream, keeps the text, and streams it to viewers."""
