"""The child process that serves the embedded model; see `embedded.py`, which starts it and is the only one to
do so.

It is run as a script, isolated from the environment (`python -I`), and imports nothing of the project. Its
settings come as one line of JSON on standard input, so that the key stands neither in the process list nor in
an environment. Its address goes as one line of JSON to standard output, once the model is loaded. Standard
input then stays open as a lifeline: it ends when the parent closes it or dies, by whatever signal, and the
child ends with it.
"""

import importlib
import json
import os
import sys
from typing import Any


def main() -> None:
    """Read the settings, serve, and end with the parent."""
    settings = json.loads(sys.stdin.buffer.readline())
    # Whatever C++ code prints to standard output belongs in the log, not between parent and child.
    report = os.dup(1)
    os.dup2(2, 1)
    if hasattr(os, "nice"):
        os.nice(settings["niceness"])
    server = _serve(settings)
    os.write(report, json.dumps({"base_url": f"{server.listening_address}/v1"}).encode() + b"\n")
    os.close(report)
    sys.stdin.buffer.read()
    # Without the C++ destructors, which would wait for running generations.
    os._exit(0)


def _serve(settings: dict[str, Any]) -> Any:
    """Load the model (this blocks) and return the listening server; C++ threads do its work."""
    # Appended, not prepended: the parent may know the package from a folder that an isolated interpreter does
    # not look into.
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
    # A long prompt is read in steps of this many tokens. Between them other answers go on, and a client that
    # left is noticed.
    params.n_batch = 128
    params.n_ubatch = 128
    # By default up to 8 GiB of past prompts would be kept in memory.
    params.cache_ram_mib = 0
    params.cache_idle_slots = False
    # Comment lines while a request waits its turn, so that the client's idle limit does not end it.
    params.sse_ping_interval = 5
    # Errors only: warnings quote malformed requests.
    params.verbosity = 1
    return xllamacpp.Server(params)


if __name__ == "__main__":
    main()
