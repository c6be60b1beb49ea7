/**
 * Whether this host lets us do what the configuration asks, looked at before anything is started or changed.
 *
 * What a failed system call would say later in its own words is said here in the user's. Rules have their own
 * check (nft/detect.ts).
 *
 * @module
 */
import type { RunConfig } from "../config/mod.ts";
import { listInterfaces } from "./interfaces.ts";
import { StartError } from "./start_error.ts";

/** What the host grants. */
export interface HostGrants {
  /** CAP_NET_ADMIN over this network namespace. */
  readonly netAdmin: boolean;
}

/** Bit of CAP_NET_ADMIN in a capability set, linux/capability.h. */
const CAP_NET_ADMIN = 12n;

/** How long a port may stay taken: a predecessor that was killed is still being taken apart by the kernel. */
const PORT_WAIT_MS = 500;
const PORT_RETRY_MS = 50;

/** @throws {StartError} for the first thing that is in the way. */
export async function preflight(config: RunConfig): Promise<HostGrants> {
  const netAdmin = hasNetAdmin(Deno.readTextFileSync("/proc/self/status"));
  if (!netAdmin) checkUnprivileged(config);
  checkInterfaces(config.from);
  await waitForPort(config.port);
  return { netAdmin };
}

/** Whether the effective set in the text of /proc/self/status holds CAP_NET_ADMIN. */
export function hasNetAdmin(status: string): boolean {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0";
  return (BigInt(`0x${effective}`) >> CAP_NET_ADMIN & 1n) === 1n;
}

/** Without CAP_NET_ADMIN a plain listener is all there can be. */
function checkUnprivileged(config: RunConfig): void {
  const why = config.rules === "nft"
    ? "to load rules and routes"
    : config.tcp === "tproxy"
    ? "for the listener's IP_TRANSPARENT"
    : config.source === "keep"
    ? "to keep client addresses (IP_TRANSPARENT)"
    : config.local
    ? "to mark our own connections (SO_MARK), or the rules would send them back to us"
    : undefined;
  if (why === undefined) return;
  throw new StartError(
    "not-permitted",
    `privilege: CAP_NET_ADMIN missing, wanted ${why}`,
    "run as root (sudo) or with that capability; `pellucid demo` shows it all without, " +
      "and `unshare -Urn` opens a shell with it in a network of its own",
  );
}

function checkInterfaces(names: readonly string[]): void {
  if (names.length === 0) return;
  const existing = listInterfaces();
  const unknown = names.filter((name) => !existing.includes(name));
  if (unknown.length === 0) return;
  const choice = existing.filter((name) => name !== "lo");
  throw new StartError(
    "interface-unknown",
    `--from: ${unknown.join(", ")} found, an interface of this network namespace wanted: ` +
      (choice.length === 0 ? "it has none beside lo" : `it has ${choice.join(", ")}`),
    "`ip link` lists the interfaces",
  );
}

async function waitForPort(port: number): Promise<void> {
  for (let waitedMs = 0;; waitedMs += PORT_RETRY_MS) {
    try {
      return checkPort(port);
    } catch (error) {
      if (!(error instanceof StartError && error.code === "port-taken") || waitedMs >= PORT_WAIT_MS) {
        throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, PORT_RETRY_MS));
    }
  }
}

/**
 * Workers listen with SO_REUSEPORT and would share the port with another program of the same user that does so
 * too, each taking a part of the connections. A listener without it tells.
 */
function checkPort(port: number): void {
  for (const hostname of ["::", "0.0.0.0"]) {
    try {
      Deno.listen({ hostname, port }).close();
    } catch (error) {
      if (error instanceof Deno.errors.AddrInUse) {
        throw new StartError(
          "port-taken",
          `port ${port}: taken by another program`,
          `choose another one with --port; \`ss -ltnp 'sport = :${port}'\` shows who has it ` +
            "(another pellucid, perhaps)",
        );
      }
      if (error instanceof Deno.errors.PermissionDenied) {
        throw new StartError(
          "not-permitted",
          `port ${port}: CAP_NET_BIND_SERVICE missing, wanted for a port below 1024`,
          "choose a higher one with --port",
        );
      }
      // No IPv6 in this kernel, or none enabled here: then the listener will have IPv4 alone.
      if (hostname === "::") continue;
      throw error;
    }
  }
}
