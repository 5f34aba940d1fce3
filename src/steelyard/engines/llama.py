"""llama.cpp in this process, by xllamacpp: its own HTTP listener on a private unix socket is the engine's port.

The listener frees a slot as soon as its client leaves, batches slots, caches prompts and counts tokens, all outside the
interpreter. What it speaks is close to the vendor's wire; `llama_wire` makes up the difference.
"""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steelyard.base.errors import SetupFault
from steelyard.engines.catalogue import EmbeddedModel

#: Must be set before OpenMP starts, else a second busy process makes decoding ten times slower.
PROCESS_ENVIRONMENT = {"OMP_WAIT_POLICY": "passive"}


@dataclass(frozen=True, slots=True)
class Loaded:
    """A loaded model and where its listener is."""

    server: Any
    socket_path: Path
    secret: str


def load(model: EmbeddedModel, weights: Path, socket_path: Path, *, slots: int, threads: int) -> Loaded:
    """Loads the weights; takes seconds and holds no lock of the interpreter.

    Raises:
        SetupFault: the engine refused the file.
    """
    # imported here: only a process that runs a model pays for it
    import xllamacpp

    socket_path.unlink(missing_ok=True)
    params = xllamacpp.CommonParams()
    params.model.path = str(weights)
    params.n_parallel = slots
    params.n_ctx = slots * model.context_tokens
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.n_gpu_layers = 0
    params.use_jinja = True
    params.no_extra_bufts = True
    params.ui = False
    params.verbosity = 0
    params.n_threads_http = slots + 2
    secret = secrets.token_urlsafe(24)
    params.api_keys = [secret]
    params.hostnames = [str(socket_path)]
    try:
        server = xllamacpp.Server(params)
    except (RuntimeError, ValueError) as exc:
        raise SetupFault(f"The engine could not load {weights.name}: {exc}") from exc
    socket_path.chmod(0o600)
    return Loaded(server, socket_path, secret)


def default_threads() -> int:
    """As many as there are cores to use, at most eight: decoding gains little beyond."""
    return min(len(os.sched_getaffinity(0)), 8)


ENGINE = load
