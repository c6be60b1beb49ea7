/**
 * The lab: throw-away network namespaces for tests, the demo and benchmarks. No root needed, nothing on the machine
 * changes, and all of it is gone when the program that started it is, however that ended.
 *
 * ```ts
 * labTest("curl gets through the gateway", async () => {
 *   await using lab = await gatewayLab();               // client – gateway – internet, IPv4 and IPv6
 *   const web = await lab.host("internet").serve({ kind: "http" });   // listens when this resolves
 *   const { v4 } = GATEWAY_LAB.servers;                 // an address that the gateway does not have
 *   const { code, stdout } = await lab.host("client").run(["curl", "-s", `http://${v4}:${web.port}/`]);
 *   await using proxy = lab.host("gateway").deno("mod.ts", ["run", "--from", "lan0"]);
 *   await proxy.stderr.waitFor((line) => line.includes("ready") || undefined, 5_000);
 *   const seen = await lab.host("client").connect({ address: v4, port: web.port, steps: [{ do: "reset" }] });
 * });
 * ```
 *
 * Topologies: topology.ts. What servers can do: server_spec.ts. What the client can do: client_spec.ts. For UDP:
 * `host.serveDatagrams(…)` with datagram_server_spec.ts, and DatagramClient in datagram_client.ts.
 *
 * @module
 */
export * from "./client_run.ts";
export * from "./client_spec.ts";
export { parseStatus, STATUS_REQUEST } from "./datagram_answers.ts";
export * from "./datagram_client.ts";
export * from "./datagram_client_spec.ts";
export * from "./datagram_server.ts";
export * from "./datagram_server_spec.ts";
export * from "./host.ts";
export * from "./http_proxy.ts";
export * from "./lab.ts";
export * from "./process.ts";
export * from "./server.ts";
export * from "./server_spec.ts";
export * from "./socks_server.ts";
export * from "./socks_server_spec.ts";
export * from "./topology.ts";
export { DeadlineError, within } from "./deadline.ts";
export type { ConnectionAccount, PeerEnd } from "./accounted_connection.ts";
export { diagnose, labTest, LabUnavailableError } from "./requirements.ts";
export { seededSha256 } from "./seeded_bytes.ts";
