"""The child process that serves the embedded model. Only `embedded.py` starts it.

It runs as a script, isolated from the environment (`python -I`), and imports nothing from the project. It reads its
settings as one line of JSON from standard input, so that the key appears neither in the process list nor in an
environment. Once the model is loaded, it writes its address as one line of JSON to standard output. Standard input then
stays open as a lifeline: it closes when the parent closes it or dies for any reason, and the child ends with it.
"""

import importlib
import json
import os
import sys
from typing import Any


def main() -> None:
    """Read the settings, serve requests, and end with the parent."""
    settings = json.loads(sys.stdin.buffer.readline())
    # Anything the C++ code prints to standard output belongs in the log, not in the pipe to the parent.
    report = os.dup(1)
    os.dup2(2, 1)
    if hasattr(os, "nice"):
        os.nice(settings["niceness"])
    server = _serve(settings)
    os.write(report, json.dumps({"base_url": f"{server.listening_address}/v1"}).encode() + b"\n")
    os.close(report)
    sys.stdin.buffer.read()
    # Skip the C++ destructors, which would wait for running generations.
    os._exit(0)


def _serve(settings: dict[str, Any]) -> Any:
    """Load the model, which blocks, and return the listening server. C++ threads serve the requests."""
    # Appended rather than prepended, because the parent may have found the package in a folder that an isolated
    # interpreter doesn't search.
    sys.path.append(settings["packages"])
    xllamacpp = importlib.import_module("xllamacpp")

    params = xllamacpp.CommonParams()
    params.model.path = settings["model_path"]
    params.model_alias = {settings["model_name"]}
    params.offline = True
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [settings["api_key"]]
    params.cors_origins = ""
    params.ui = False
    params.n_parallel = settings["slots"]
    params.n_ctx = settings["slots"] * settings["context_window"]
    params.cpuparams.n_threads = settings["threads"]
    params.cpuparams_batch.n_threads = settings["threads"]
    # Long prompts are read in steps of this many tokens. Between steps, other answers continue, and disconnected
    # clients are noticed.
    params.n_batch = 128
    params.n_ubatch = 128
    # By default, up to 8 GiB of past prompts would be kept in memory.
    params.cache_ram_mib = 0
    params.cache_idle_slots = False
    # Send comment lines to waiting requests, so that the client's idle limit doesn't end them.
    params.sse_ping_interval = 5
    # Log only errors, because warnings quote malformed requests.
    params.verbosity = 1
    return xllamacpp.Server(params)


if __name__ == "__main__":
    main()
