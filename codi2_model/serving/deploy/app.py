"""The Ray Serve application: starts it, switches its model, stops it. Its deployments scale separately.

    ingress (HTTP, checks, media)  ->  model (text and features; also decoders, unless they are split off)
                                           ->  image, audio, video (each with its own batches)

    serve("checkpoints/final")                                   # until SIGTERM or Ctrl-C
    with serve("checkpoints/final", port=0, blocking=False) as server: ...server.url...
    serve deploy codi2_model/serving/serve.yaml                  # on a cluster

Ray is imported inside the functions, so that importing this module is fast and the local cluster sets Ray's environment first.
"""

from __future__ import annotations

import logging
import os
import sys
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from codi2_datasets.runtime.ray_executor import local_cluster
from codi2_model.checkpoints.registry import checkpoint_folder, name_of_folder
from codi2_model.serving.deploy.deployments import application
from codi2_model.serving.deploy.follow import EVERY, CannotServe, PromotionFollower
from codi2_model.serving.deploy.launch import Server, url_host
from codi2_model.serving.deploy.settings import LOOPBACK, ServerSettings, read_token
from codi2_model.serving.scheduler.hot_swap import ServedModel, known_names
from codi2_storage.host.ports import PortTaken, free_port
from codi2_storage.host.shutdown import requested, stoppable
from codi2_storage.store import Store

__all__ = ["PortTaken", "Server", "application", "build", "serve"]
NAME = "codi2"
LOAD_SECONDS = 1800.0  # timeout for all replicas to load another model
LAST_SECONDS = 3.0  # timeout for active replies to end after Ctrl-C or SIGTERM
FAILURE_MIDDLEWARE = (
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH",
    "codi2_model.serving.deploy.ingress_failure:middlewares",
)


def serve(
    checkpoint: str | Path,
    host: str = "127.0.0.1",
    port: int = 8000,
    blocking: bool = True,
    model_id: str | None = None,
    num_cpus: int | None = None,
    settings: ServerSettings | None = None,
    follow: str | Store | None = None,
    every: float = EVERY,
) -> Server | None:
    """Serve a checkpoint over HTTP. Port 0 takes any free port.

    With `blocking` it returns None after SIGTERM or SIGINT, when everything is shut down. `follow`: a root whose promotions
    the server follows, checked `every` so many seconds; `model_id` is then the id of the first checkpoint. Raises
    FileNotFoundError if there is no such checkpoint and PortTaken if the port is in use, both before anything is started.
    """
    folder = checkpoint_folder(checkpoint).absolute()
    port = free_port(port, host)
    settings = settings or ServerSettings()
    if host in LOOPBACK:
        settings = replace(settings, hosts=(*LOOPBACK, *settings.hosts))
    with ExitStack() as stack:
        stopping = stack.enter_context(stoppable()) if blocking else None
        served = ServedModel(str(folder), model_id or name_of_folder(folder))
        server, change = _start(stack, served, host, port, num_cpus, settings)
        if follow is not None:
            stack.enter_context(PromotionFollower(follow, served, change, port, every))
        if stopping is None:
            server.stack = stack.pop_all()
            return server
        print(f"serving {served.model_id} on {server.url} (Ctrl-C stops it)", flush=True)
        stopping.wait()
        stopping.say("codi2: shutting down")
    return None


def build(arguments: dict[str, Any]) -> Any:
    """Build the application for `serve deploy`. Arguments: checkpoint, model_id, gpu, token_file and those of ServerSettings."""
    known = {field.name for field in fields(ServerSettings)} - {"token", "limits"}
    unknown = set(arguments) - known - {"checkpoint", "model_id", "gpu", "token_file"}
    if unknown or "checkpoint" not in arguments:
        raise ValueError(
            f"unknown args: {', '.join(sorted(unknown))}; known: checkpoint, model_id, gpu, token_file, {', '.join(sorted(known))}"
            if unknown
            else "args has no checkpoint"
        )
    options: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in arguments.items() if k in known}
    settings = ServerSettings(token=read_token(arguments.get("token_file")), **options)
    folder = checkpoint_folder(arguments["checkpoint"]).absolute()
    served = ServedModel(str(folder), arguments.get("model_id") or name_of_folder(folder))
    return application(served, settings, bool(arguments.get("gpu")), _split(served, settings))


def _split(served: ServedModel, settings: ServerSettings) -> tuple[str, ...]:
    """The modalities whose decoders are separate deployments."""
    from codi2_model import CoDi2Config

    return tuple(CoDi2Config.from_pretrained(served.folder()).modalities) if settings.split_decoders else ()


def _start(
    stack: ExitStack,
    served: ServedModel,
    host: str,
    port: int,
    num_cpus: int | None,
    settings: ServerSettings,
) -> tuple[Server, Callable[[ServedModel], ServedModel]]:
    """Start the application. Returns the server, and the function that switches its model."""
    os.environ.setdefault(*FAILURE_MIDDLEWARE)
    # at least 2 CPUs: Ray must be able to place the replicas beside the proxy and the controller
    shared = bool(os.environ.get("RAY_ADDRESS"))
    if "ray" in sys.modules:
        shared = shared or sys.modules["ray"].is_initialized()
    stack.enter_context(local_cluster(num_cpus=num_cpus or max(2, settings.replicas, os.cpu_count() or 2)))
    import ray
    from ray import serve as ray_serve

    if not os.environ.get("CODI2_DEBUG"):
        logging.getLogger("ray.serve").setLevel(logging.WARNING)
    stack.callback(_stop, shared)
    ray_serve.start(http_options={"host": host, "port": port, "location": "HeadOnly"})
    gpu = ray.cluster_resources().get("GPU", 0) >= 1
    decoders, version = _split(served, settings), uuid.uuid4().hex[:8]

    def deploy(model: ServedModel) -> None:
        ray_serve.run(application(model, settings, gpu, decoders, version), name=NAME, route_prefix="/")

    deploy(served)
    changer = ModelSwitcher(served, ("model", *decoders), deploy)
    return Server(f"http://{url_host(host)}:{port}", stack), changer


class ModelSwitcher:
    """Switches the model of the running application in two steps.

    First all replicas load the new model beside the old one. If all could load it, they switch to it. Replicas that start
    later load the last model that was switched to.
    """

    def __init__(self, served: ServedModel, holders: tuple[str, ...], deploy: Callable[[ServedModel], None]) -> None:
        self.served, self.holders, self.deploy = served, holders, deploy

    def __call__(self, new: ServedModel) -> ServedModel:
        """Switch the model. Returns the new one. Raises CannotServe, and keeps the old one, if a replica cannot load it."""
        new = replace(new, before=known_names(self.served.before, self.served.model_id))
        try:
            for name in self.holders:
                self._all(name, "prepare", new)
        except Exception as error:
            for name in self.holders:
                self._all(name, "discard")
            raise CannotServe(_cause(error)) from error
        self.deploy(new)
        self.served = new
        return new

    def _all(self, name: str, method: str, *arguments: Any) -> None:
        from ray import serve as ray_serve

        handle = ray_serve.get_deployment_handle(name, NAME)
        handle.broadcast(method, *arguments).results(timeout_s=LOAD_SECONDS)


def _cause(error: BaseException) -> str:
    """The error of a replica as one line."""
    inner = getattr(error, "cause", None) or error
    return f"{type(inner).__name__}: {(str(inner).strip() or 'no message').splitlines()[0]}"


def _stop(shared: bool) -> None:
    """Stop the application after its active requests; new requests get status 503 in the meantime.

    `shared`: the cluster existed before. Then Ray Serve stays if it has other applications. After a signal only seconds are
    left, so that active requests may be cut off.
    """
    from ray import serve as ray_serve

    try:
        handle = ray_serve.get_deployment_handle("model", NAME)
        handle.broadcast("drain").results(timeout_s=LAST_SECONDS if requested.is_set() else None)
    except Exception as error:  # for example a model that was never loaded
        logging.getLogger(__name__).debug("nothing to drain: %s", error)
    if requested.is_set() and not shared:
        return  # the cluster ends now, and the application with it
    ray_serve.delete(NAME, _blocking=not requested.is_set())
    if shared and not ray_serve.status().applications:
        ray_serve.shutdown()
