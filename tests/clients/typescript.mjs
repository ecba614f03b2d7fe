// The official TypeScript SDK over Streamable HTTP.
import assert from "node:assert/strict";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const [url, token] = process.argv.slice(2);
const transport = new StreamableHTTPClientTransport(new URL(`${url}/mcp`), {
  requestInit: { headers: { Authorization: `Bearer ${token}` } },
});
const client = new Client({ name: "kruxos-client-tests", version: "1" });
await client.connect(transport);
const { tools } = await client.listTools();
assert.ok(tools.some((tool) => tool.name === "filesystem__list"), "filesystem__list is listed");
const time = await client.callTool({ name: "system__time", arguments: { timezone: "Europe/Berlin" } });
assert.equal(time.structuredContent.timezone, "Europe/Berlin");
assert.deepEqual(JSON.parse(time.content[0].text), time.structuredContent);
const escape = await client.callTool({ name: "filesystem__read", arguments: { path: "../../etc/passwd" } });
assert.equal(escape.isError, true);
assert.equal(JSON.parse(escape.content[0].text).error_type, "PathOutOfScope");
await transport.terminateSession();
await client.close();
console.log(`typescript: ${tools.length} tools on the first page`);
