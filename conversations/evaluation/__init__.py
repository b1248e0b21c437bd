"""The evaluation set for testing models, and reruns of reported prompts.

Owns EvaluationItem and Rerun.
Uses review and everything below it.
"""
