"""A process that opens an image pool, prints its children's process ids and waits."""

import asyncio
import sys

from imgsvc.imaging.config import ImagesConfig
from imgsvc.imaging.pool import open_image_pool
from standins.processes import children_of_this_process


async def main() -> None:
    async with open_image_pool(ImagesConfig(processes=2)):
        print(*children_of_this_process(), flush=True)  # noqa: T201 - how the test learns them
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
