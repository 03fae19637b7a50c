"""What is done to a container from outside of its life with the console."""

from client_manager.gateways.docker_engine import DockerEngine


def kill(engine: DockerEngine, name: str) -> None:
    """Kill a container's processes as ``kill -9`` does; its policy does not start it again (docs.docker.com, restart).

    Raises:
        NotFound: there is none.
        Conflict: it does not run.
    """
    with engine.speaking(f"Container {name}") as api:
        api.kill(name, "SIGKILL")
