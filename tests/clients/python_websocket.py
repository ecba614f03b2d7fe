"""The official Python client's WebSocket transport (its 1.x line), with the token in the upgrade."""

import asyncio
import functools
import sys
import warnings

warnings.simplefilter("ignore")
from mcp import ClientSession  # noqa: E402
from mcp.client import websocket  # noqa: E402

URL, TOKEN = sys.argv[1].replace("http", "ws", 1) + "/mcp", sys.argv[2]
# The transport has no parameter for headers; its connect function does.
websocket.ws_connect = functools.partial(
    websocket.ws_connect, additional_headers={"Authorization": f"Bearer {TOKEN}"}
)


async def main():
    async with websocket.websocket_client(URL) as (read, write), ClientSession(read, write) as session:
        hello = await session.initialize()
        tools = await session.list_tools()
        answers = await asyncio.gather(*(session.call_tool("system__time", {}) for _ in range(20)))
        if any(answer.isError for answer in answers):
            raise SystemExit(f"FAILED: {answers}")
        print(f"python websocket: protocol {hello.protocolVersion}, {len(tools.tools)} tools on the first page")


asyncio.run(main())
