"""The packaged towers in a worker: loaded once per process, on one thread of the CPU."""

from typing import TYPE_CHECKING

from pipelines.shared.devices import choose_device, make_deterministic
from pipelines.shared.loading import LoadedOnce

if TYPE_CHECKING:
    from models.shared.packaged import ImageTower, TextTower


@LoadedOnce
def load_image_tower() -> "ImageTower":
    """EfficientNet-Lite0.

    Raises:
        ValueError: Its package is missing, or a file of it is not the one that is expected.
    """
    from models.shared.packaged import image_tower

    make_deterministic(choose_device("cpu", "image tower"), num_threads=1)
    return image_tower()


@LoadedOnce
def load_text_tower() -> "TextTower":
    """all-MiniLM-L6-v2.

    Raises:
        ValueError: Its package is missing, or a file of it is not the one that is expected.
    """
    from models.shared.packaged import text_tower

    make_deterministic(choose_device("cpu", "text tower"), num_threads=1)
    return text_tower()
