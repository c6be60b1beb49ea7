/**
 * Whether the listeners' ports are free, asked before a worker finds out.
 *
 * @module
 */
import type { RunConfig } from "../config/mod.ts";
import { StartError } from "./start_error.ts";
import { tcpLegs } from "./tcp_legs.ts";
import { NO_MARKS } from "./worker_configs.ts";

/** How long a port may stay taken: a predecessor that was killed is still being taken apart by the kernel. */
const PORT_WAIT_MS = 500;
const PORT_RETRY_MS = 50;

/** @throws {StartError} when a port is taken, and stays so for a moment. */
export async function waitForPorts(config: RunConfig): Promise<void> {
  for (let waitedMs = 0;; waitedMs += PORT_RETRY_MS) {
    try {
      for (const { port } of tcpLegs(config, NO_MARKS)) checkTcpPort(port, portFlag(config, port));
      if (config.udp !== "off") checkUdpPorts(config.port, config.workers, "--port");
      if (config.sidecar?.dns) checkUdpPorts(config.sidecar.dns.port, 1, "--dns-port");
      return;
    } catch (error) {
      if (!(error instanceof StartError && error.code === "port-taken") || waitedMs >= PORT_WAIT_MS) {
        throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, PORT_RETRY_MS));
    }
  }
}

/** The flag that chose `port`. */
export function portFlag({ sidecar }: RunConfig, port: number): string {
  if (port === sidecar?.inboundPort) return "--inbound-port";
  return port === sidecar?.dns?.port ? "--dns-port" : "--port";
}

/**
 * Workers listen with SO_REUSEPORT and would share the port with another program of the same user that does so
 * too, each taking a part of the connections. A listener without it tells.
 */
function checkTcpPort(port: number, flag: string): void {
  for (const hostname of ["::", "0.0.0.0"]) {
    try {
      Deno.listen({ hostname, port }).close();
    } catch (error) {
      if (error instanceof Deno.errors.AddrInUse) throw portTaken("TCP", port, flag);
      if (error instanceof Deno.errors.PermissionDenied) {
        throw new StartError(
          "not-permitted",
          `port ${port}: CAP_NET_BIND_SERVICE missing, wanted for a port below 1024`,
          `choose a higher one with ${flag}`,
        );
      }
      // No IPv6 in this kernel, or none enabled here: then the listener will have IPv4 alone.
      if (hostname === "::") continue;
      throw error;
    }
  }
}

/** A socket of any address has the port for itself alone, so any other socket with it is in the way. */
function checkUdpPorts(first: number, workers: number, flag: string): void {
  const taken = new Set<number>();
  for (const table of ["udp", "udp6"]) {
    for (const port of parseUdpPorts(readTable(table))) taken.add(port);
  }
  for (let port = first; port < first + workers; port++) {
    if (taken.has(port)) throw portTaken("UDP", port, flag);
  }
}

function readTable(name: string): string {
  try {
    return Deno.readTextFileSync(`/proc/self/net/${name}`);
  } catch (error) {
    // A kernel without IPv6 has no table of it.
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  }
}

/** The local ports in the text of /proc/net/udp or /proc/net/udp6. */
export function parseUdpPorts(table: string): number[] {
  return [...table.matchAll(/^\s*\d+: [0-9A-F]+:([0-9A-F]{4}) /gm)].map(([, port]) => parseInt(port!, 16));
}

function portTaken(protocol: "TCP" | "UDP", port: number, flag: string): StartError {
  const listing = protocol === "TCP" ? "ss -ltnp" : "ss -aunp";
  return new StartError(
    "port-taken",
    `${protocol} port ${port}: taken by another program`,
    `choose another one with ${flag}; \`${listing} 'sport = :${port}'\` shows who has it ` +
      "(another pellucid, perhaps)",
  );
}
