"""The Docker Engine for a look: waited for briefly, and after its first silence not at all."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from typing import Any, Final

from client_manager.errors import Unavailable
from client_manager.gateways.docker_engine import DockerEngine
from client_manager.gateways.patience import within

# docker-py's timeout is for each part of an answer. A whole one may take this often as long.
_WHOLE: Final = 2


class HastyEngine(DockerEngine):
    """One Docker Engine that many parts of a look ask; once it has not answered, each is told so at once."""

    def __init__(self, endpoint: str, *, context: str | None = None, patience_s: float) -> None:
        super().__init__(endpoint, context=context, patience_s=patience_s)
        self._silence: Unavailable | None = None

    @cached_property
    def _api(self) -> Any:  # noqa: ANN401  docker-py carries no types
        return _InTime(self._connect, _WHOLE * self._patience_s, f"Docker at {self.endpoint}")

    @contextmanager
    def _errors(self, subject: str) -> Iterator[None]:
        if self._silence:
            raise self._silence
        try:
            with super()._errors(subject):
                yield
        except Unavailable as error:
            self._silence = error
            raise


class _InTime:
    """docker-py's client, each call of which is left behind where its whole answer does not come in time."""

    def __init__(self, make: Callable[[], Any], timeout_s: float, who: str) -> None:
        self._within = partial(within, timeout_s, who=who)
        self._client = self._within(make)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)

        def call(*arguments: object, **options: object) -> Any:  # noqa: ANN401
            return self._within(partial(method, *arguments, **options))

        return call
