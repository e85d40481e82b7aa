"""Which versions of a model are served: loads new ones, and lets old ones finish."""

import asyncio
import dataclasses
import gc
import logging
import os

from mmlearn.serving.server.batching import Batcher
from mmlearn.serving.server.errors import RequestError
from mmlearn.serving.server.served_version import ServedVersion
from mmlearn.serving.server_config import read_server_config, wanted_versions
from mmlearn.serving.versions import default_name, find_versions

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Servable:
    """A version that answers, and what makes its batches."""

    number: int
    model: ServedVersion
    batcher: Batcher


class VersionManager:
    """The versions in a folder, as its `models.config` wants them: by default the newest.

    A version is checked, loaded and warmed up before it answers; the old one goes on until then, and
    then until its last request is answered. One that fails is logged and passed over, until its files
    change: the newest that can be loaded is served.

    Args:
        folder: str.
        options: `ServerOptions`.
        metrics: `Metrics`.

    Raises:
        ValueError: when the folder has no version, or its config cannot be read.
    """

    def __init__(self, folder, options, metrics):
        self._folder, self._options, self._metrics = folder, options, metrics
        self.name, _ = read_server_config(folder, default_name(folder))
        if not find_versions(folder):
            raise ValueError(
                f"{folder!r} holds no exported version. Fix: python -m mmlearn export MODEL."
            )
        self._serving = {}  # Servable by version
        self._failed = {}  # what a version's files were like when it failed
        self._states = {}  # state and error by version
        self._draining = set()
        self._complaint = None

    def find(self, name, version=None):
        """Returns the `Servable` of a request.

        Args:
            name: str, of the model.
            version: int, or `None` for the newest that is served.

        Raises:
            RequestError: `NOT_FOUND`.
        """
        wanted = max(self._serving, default=None) if version is None else version
        if name != self.name or wanted not in self._serving:
            asked = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise RequestError(
                "NOT_FOUND",
                f"Servable not found for request: {asked}. Fix: this server has {self.name!r}, versions "
                f"{', '.join(map(str, sorted(self._serving))) or 'none'}.",
            )
        return self._serving[wanted]

    def states(self, name, version=None):
        """The state of each version: dict of int to its name and its error, `""` for none.

        Raises:
            RequestError: `NOT_FOUND`.
        """
        found = {n: self._states[n] for n in sorted(self._states) if version in (None, n)}
        if name != self.name or not found:
            raise RequestError("NOT_FOUND", f"Could not find any versions of model {name}")
        return found

    def is_ready(self):
        """Whether a version answers."""
        return bool(self._serving)

    async def watch(self):
        """Looks at the folder for ever."""
        while True:
            await asyncio.sleep(self._options.poll_seconds)
            try:
                await self.scan()
            except (ValueError, OSError) as error:
                if str(error) != self._complaint:  # said once, not at each look
                    _log.error("What was served goes on: %s", error)
                self._complaint = str(error)

    async def scan(self):
        """Loads what is wanted and is not there, then retires what is there and is not wanted.

        Raises:
            ValueError, OSError: when the folder or its config cannot be read.
        """
        while True:
            name, policy = read_server_config(self._folder, self.name)
            if name != self.name:
                raise ValueError(f"The model is now called {name!r}. Fix: restart the server.")
            found = {number: self._stamp(number) for number in find_versions(self._folder)}
            sound = [n for n, stamp in found.items() if self._failed.get(n) != stamp]
            wanted = wanted_versions(policy, sound)
            new = sorted(wanted - self._serving.keys(), reverse=True)
            if not new:
                break
            await self._load(new[0], found[new[0]])
        if wanted:
            for number in sorted(self._serving.keys() - wanted):
                task = asyncio.create_task(self._retire(self._serving.pop(number)))
                self._draining.add(task)
                task.add_done_callback(self._draining.discard)

    async def close(self):
        """Answers what has been taken in, and unloads all."""
        while self._serving:
            await self._retire(self._serving.popitem()[1])
        await asyncio.gather(*self._draining)

    async def _load(self, number, stamp):
        self._states[number] = ("LOADING", "")
        path = os.path.join(self._folder, str(number))
        try:
            model = await asyncio.to_thread(self._load_in_thread, path)
        except Exception as error:  # whatever it is, the other versions go on
            message = " ".join(str(error).split())[:500] or type(error).__name__
            _log.error("Version %d cannot be served: %s", number, message)
            self._metrics.failed_loads.inc()
            self._failed[number], self._states[number] = stamp, ("END", message)
            return
        self._failed.pop(number, None)
        self._serving[number] = Servable(
            number, model, Batcher(model.call, self._options, self._metrics)
        )
        self._states[number] = ("AVAILABLE", "")
        self._metrics.available.labels(number).set(1)
        _log.info("Version %d of %r is served.", number, self.name)

    def _load_in_thread(self, path):
        model = ServedVersion(path, self._options.max_batch_size)
        model.warm_up()
        return model

    async def _retire(self, servable):
        self._states[servable.number] = ("UNLOADING", "")
        self._metrics.available.labels(servable.number).set(0)
        await servable.batcher.drain()
        self._states[servable.number] = ("END", "")
        _log.info("Version %d of %r is no longer served.", servable.number, self.name)
        del servable
        await asyncio.to_thread(gc.collect)  # a loaded model is full of cycles

    def _stamp(self, number):
        """What changes when a file of a version does."""
        found = []
        for place, _, names in os.walk(os.path.join(self._folder, str(number))):
            for name in names:
                status = os.stat(os.path.join(place, name))
                found.append((place, name, status.st_size, status.st_mtime_ns))
        return sorted(found)
