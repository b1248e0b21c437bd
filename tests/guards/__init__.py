"""Tests of the house: what CONTRIBUTING.md and the docs say about the project as a whole, kept true."""
