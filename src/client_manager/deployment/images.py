"""Images: what a tag was when it was chosen is what runs, until the operator chooses again."""

from client_manager.app import App
from client_manager.deployment.health import Report
from client_manager.errors import NotFound
from client_manager.models.client import ClientSpec
from client_manager.models.container import ImageDetail
from client_manager.models.operation import Progress


def choose_image(app: App, reference: str, report: Report) -> ImageDetail:
    """Return an image, pulled if it is not here.

    Raises:
        NotFound: the registry has none of this name.
        Unavailable: the registry does not answer, or refuses.
    """
    found = app.engine.find_image(reference)
    if found is not None:
        return found

    def show(detail: str, fraction: float | None) -> None:
        report(Progress(step=f"Pulling {reference}", detail=detail, fraction=fraction))

    show("", None)
    app.engine.pull(reference, show)
    found = app.engine.find_image(reference)
    if found is None:
        raise NotFound(f"The image {reference} is not there after its pull.", hint="Check its tag at the registry.")
    return found


def pinned_image(app: App, spec: ClientSpec, report: Report) -> tuple[str, ImageDetail]:
    """Return what to create the container from, and the image: the tag, or the recorded digest where the tag moved on.

    Raises:
        NotFound: the image that was recorded is neither here nor at the registry.
    """
    if spec.image_digest is None:
        return spec.image, choose_image(app, spec.image, report)
    tagged = app.engine.find_image(spec.image)
    if tagged and tagged.is_called(spec.image_digest):
        return spec.image, tagged
    recorded = app.engine.find_image(spec.image_digest)
    if recorded is not None:
        return spec.image_digest, recorded
    if spec.image_digest.startswith("sha256:"):
        raise NotFound(
            f"The image that {spec.name} runs is gone: {spec.image} is another one now.",
            why=f"{spec.image_digest} was made on this machine and cannot be pulled.",
            hint=f"Choose what it shall run: client-manager client set {spec.name} --image {spec.image}",
        )
    return spec.image_digest, choose_image(app, spec.image_digest, report)
