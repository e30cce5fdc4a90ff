"""The model on Ray Serve, as deployments that scale apart: started, changed for another model, stopped.

    ingress (HTTP, checks, media)  ->  model (words and features; decoders too, unless they are split off)
                                           ->  image, audio, video (each with batches of its own)

    serve("checkpoints/final")                                   # until SIGTERM or Ctrl-C
    with serve("checkpoints/final", port=0, blocking=False) as server: ...server.url...
    serve deploy codi2_model/serving/serve.yaml                  # on a cluster

Ray is imported inside the functions: importing this module is cheap, and the local cluster sets Ray's environment first.
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
LOAD_SECONDS = 1800.0  # that all replicas together may take to load another model
LAST_SECONDS = 3.0  # that replies under way may take to end after Ctrl-C or SIGTERM
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
    """Serve a checkpoint over HTTP. Port 0 takes a free one.

    Blocking, it returns None after SIGTERM or SIGINT, with everything shut down. `follow`: a root whose promotions it goes
    along with, looked for `every` so many seconds; then `model_id` is the id of the checkpoint it begins with. Raises
    FileNotFoundError for a checkpoint that is not there and PortTaken for a port in use, both before anything is started.
    """
    folder = checkpoint_folder(checkpoint).absolute()
    port = free_port(port, host)
    chosen = settings or ServerSettings()
    if host in LOOPBACK:
        chosen = replace(chosen, hosts=(*LOOPBACK, *chosen.hosts))
    with ExitStack() as stack:
        stopping = stack.enter_context(stoppable()) if blocking else None
        served = ServedModel(str(folder), model_id or name_of_folder(folder))
        server, change = _start(stack, served, host, port, num_cpus, chosen)
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
    """For `serve deploy`: arguments are checkpoint, model_id, gpu, token_file and the fields of ServerSettings."""
    known = {field.name for field in fields(ServerSettings)} - {"token", "limits"}
    unknown = set(arguments) - known - {"checkpoint", "model_id", "gpu", "token_file"}
    if unknown or "checkpoint" not in arguments:
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}" if unknown else "the checkpoint is missing")
    given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in arguments.items() if k in known}
    settings = ServerSettings(token=read_token(arguments.get("token_file")), **given)
    folder = checkpoint_folder(arguments["checkpoint"]).absolute()
    served = ServedModel(str(folder), arguments.get("model_id") or name_of_folder(folder))
    return application(served, settings, bool(arguments.get("gpu")), _split(served, settings))


def _split(served: ServedModel, settings: ServerSettings) -> tuple[str, ...]:
    """The modalities whose decoders are deployments of their own."""
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
    """The server, and what changes its model."""
    os.environ.setdefault(*FAILURE_MIDDLEWARE)
    # the proxy and the controller take no whole core, but Ray must be able to place the replicas beside them
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
    """Changes the model of the running application, in two steps: first all replicas load the new one beside the old, and only
    where all could are they told to answer by it. Replicas that start later begin with the last that was told."""

    def __init__(self, served: ServedModel, holders: tuple[str, ...], deploy: Callable[[ServedModel], None]) -> None:
        self.served, self.holders, self.deploy = served, holders, deploy

    def __call__(self, new: ServedModel) -> ServedModel:
        """Returns the new model as it is served. Raises CannotServe where a replica cannot load it; nothing has changed then."""
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
    """What went wrong in a replica, in one line."""
    inner = getattr(error, "cause", None) or error
    return f"{type(inner).__name__}: {(str(inner).strip() or 'no reason given').splitlines()[0]}"


def _stop(shared: bool) -> None:
    """End our application after what it is answering; meanwhile new requests get 503. A cluster of our own ends right
    after; on another's, Serve stays for as long as it has other applications. After a signal there are only seconds left."""
    from ray import serve as ray_serve

    try:
        handle = ray_serve.get_deployment_handle("model", NAME)
        handle.broadcast("drain").results(timeout_s=LAST_SECONDS if requested.is_set() else None)
    except Exception as error:  # a model that never came up has nothing to finish
        logging.getLogger(__name__).debug("nothing to drain: %s", error)
    if requested.is_set() and not shared:
        return  # the cluster ends now, and the application with it
    ray_serve.delete(NAME, _blocking=not requested.is_set())
    if shared and not ray_serve.status().applications:
        ray_serve.shutdown()
