"""The environment that the settings are read from."""

from environs import Env

env = Env()
