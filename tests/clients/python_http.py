"""The official Python client, both eras, over HTTP: list, read, write, a held call, a wrong token."""

import asyncio
import json
import sys

import httpx2
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

URL, TOKEN = sys.argv[1] + "/mcp", sys.argv[2]


def check(condition, what):
    if not condition:
        raise SystemExit(f"FAILED: {what}")


async def session(mode):
    http = httpx2.AsyncClient(headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60)
    async with Client(streamable_http_client(URL, http_client=http), mode=mode) as client:
        tools = await client.list_tools()
        names = [tool.name for tool in tools.tools]
        while tools.next_cursor:
            tools = await client.list_tools(cursor=tools.next_cursor)
            names += [tool.name for tool in tools.tools]
        check("filesystem__read" in names, f"filesystem__read is not in {names}")
        check(not any(name.startswith("network__") for name in names), "a planned tool is listed")
        written = await client.call_tool("filesystem__write", {"path": f"{mode}.txt", "content": "grüß"})
        check(not written.is_error, written)
        read = await client.call_tool("filesystem__read", {"path": f"/workspace/{mode}.txt"})
        check(read.structured_content["content"] == "grüß", read)
        check(json.loads(read.content[0].text) == read.structured_content, "text and structuredContent differ")
        missing = await client.call_tool("filesystem__read", {"path": "nowhere.txt"})
        check(missing.is_error and missing.structured_content["error_type"] == "FileNotFound", missing)
        check(json.loads(missing.content[0].text) == missing.structured_content, "error facts differ")
        wrong = await client.call_tool("filesystem__read", {"path": 7})
        check(wrong.is_error and wrong.structured_content["error_type"] == "InvalidInput", wrong)
        print(f"python {mode}: protocol {client.protocol_version}, {len(names)} tools")


async def main():
    await session("auto")
    await session("legacy")
    refused = httpx2.post(URL, json={}, headers={"Authorization": "Bearer nonsense"})
    check(refused.status_code == 401, refused)
    check(refused.json()["error_type"] == "auth.invalid_credentials", refused.text)


asyncio.run(main())
