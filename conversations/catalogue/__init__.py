"""The catalogue of models that people can choose, with their capabilities and parameters.

Owns ChatModel, and syncs it with the environment when the site starts.
Uses llm and common.
"""
