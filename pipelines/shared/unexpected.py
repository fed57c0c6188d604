"""The last net under a link: an exception that nobody expected loses the link that raised it, and nothing else.

What such an exception says is a mistake of ours, so it is logged, one line for each; a crawl in which many links end so
fails by its `max_failed_frac`. Trouble of this machine is not the link's: a full disk or a lack of memory or of open
files ends the stage.
"""

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.shared.reasons import LinkError

MACHINE_TROUBLE = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
)
MOST_LOGGED_CHARS = 300

logger = logging.getLogger("vignette.crawl")


@contextmanager
def as_link_error(url: str) -> Iterator[None]:
    """Turn any exception inside the block into a LinkError; `url` is what the log calls the link.

    Raises:
        LinkError: As the block raises it, or `internal_error`.
        OSError: This machine is in trouble, see `MACHINE_TROUBLE`.
        MemoryError: Likewise.
    """
    try:
        yield
    except (LinkError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in MACHINE_TROUBLE:
            raise
        text = f"{url!a}: {type(error).__name__}: {str(error)!a}"
        logger.error("internal_error of a link, please report it: %s", text[:MOST_LOGGED_CHARS])
        raise LinkError("internal_error", type(error).__name__) from error
