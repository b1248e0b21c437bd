"""Benchmarks of speed, memory and cost. They are not tests, because the figures depend on the machine."""
