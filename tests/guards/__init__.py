"""Tests that the project follows its own rules, as CONTRIBUTING.md and the docs state them."""
