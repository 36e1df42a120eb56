"""Serves a GGUF model over llama.cpp's own HTTP server: PORT MODEL.gguf SLOTS TOTAL_CONTEXT.

Ends on SIGTERM, and when stdin closes, so that a test that dies leaves nothing behind.
"""

import os
import signal
import sys

import xllamacpp


def main() -> None:
    port, model, slots, context = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.model_alias = {os.path.basename(model).removesuffix(".gguf")}
    params.n_ctx = context
    params.n_parallel = slots
    params.cont_batching = True
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.n_gpu_layers = 0
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.n_threads_http = 16
    params.endpoint_metrics = params.endpoint_slots = params.endpoint_props = True
    params.use_jinja = True
    params.offline = True
    server = xllamacpp.Server(params)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    print("READY", server.listening_address, flush=True)
    sys.stdin.read()
    os._exit(0)


main()
