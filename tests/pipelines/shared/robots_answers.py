"""What robots.txt answers, asked as a crawl asks."""

import asyncio

from yarl import URL

from pipelines.shared.reasons import LinkError
from pipelines.shared.robots import Robots


def allowed(answer: bytes | str, path: str = "/x.jpg") -> bool:
    """Whether a path may be fetched; an answer is a body or a reason why there is none."""

    async def read(url: URL) -> bytes:
        if isinstance(answer, str):
            raise LinkError(answer)
        return answer

    async def run() -> bool:
        try:
            await Robots(read, "Vignette").check(URL(f"http://a.com{path}"))
        except LinkError as error:
            assert error.reason == "robots_denied"
            return False
        return True

    return asyncio.run(run())
