/**
 * Who listens where, from /proc: sockets of this network namespace, and the processes that hold them as far as we may
 * look into them.
 *
 * @module
 */
import { addressFromBytes } from "../net/mod.ts";
import type { Host } from "./host.ts";

/** A socket that takes what is sent to its port: a TCP listener, or a UDP socket that is not connected. */
export interface Listener {
  readonly protocol: "tcp" | "udp";
  /** Canonical text; `0.0.0.0` and `::` are every address. */
  readonly address: string;
  readonly port: number;
  /** `name (pid N)`; undefined: a process that we may not look into. */
  readonly holder: string | undefined;
}

const FILES = [["tcp", "tcp"], ["tcp6", "tcp"], ["udp", "udp"], ["udp6", "udp"]] as const;
/** Of /proc/net/tcp: TCP_LISTEN. */
const LISTENING = "0A";
/** Of /proc/net/udp: not connected (TCP_CLOSE). */
const UNCONNECTED = "07";

/** Every listener. */
export function readListeners(host: Host): Listener[] {
  const found = FILES.flatMap(([file, protocol]) =>
    parseSockets(host.readFile(`/proc/self/net/${file}`) ?? "", protocol)
  );
  const holders = found.length === 0
    ? new Map()
    : readHolders(host, new Set(found.map(({ inode }) => inode)));
  return found.map(({ inode, ...socket }) => ({ ...socket, holder: holders.get(inode) }));
}

function parseSockets(
  text: string,
  protocol: "tcp" | "udp",
): (Omit<Listener, "holder"> & { readonly inode: string })[] {
  return text.split("\n").slice(1).flatMap((line) => {
    const [, local = "", , state, , , , , , inode = ""] = line.trim().split(/\s+/);
    if (state !== (protocol === "tcp" ? LISTENING : UNCONNECTED)) return [];
    const [address = "", port = ""] = local.split(":");
    return [{ protocol, address: decodeAddress(address), port: parseInt(port, 16), inode }];
  });
}

/** The kernel prints each 32-bit word as the machine reads it: all that Deno runs on is little-endian. */
function decodeAddress(hex: string): string {
  const bytes = hex.match(/.{8}/g)!.flatMap((word) => word.match(/../g)!.reverse());
  return addressFromBytes(Uint8Array.from(bytes, (byte) => parseInt(byte, 16))).text;
}

function readHolders(host: Host, inodes: ReadonlySet<string>): Map<string, string> {
  const holders = new Map<string, string>();
  for (const pid of host.listFolder("/proc")) {
    if (!/^\d+$/.test(pid)) continue;
    for (const fd of host.listFolder(`/proc/${pid}/fd`)) {
      const inode = /^socket:\[(\d+)\]$/.exec(host.readLink(`/proc/${pid}/fd/${fd}`) ?? "")?.[1];
      if (inode === undefined || !inodes.has(inode)) continue;
      holders.set(inode, `${host.readFile(`/proc/${pid}/comm`)?.trim() ?? "?"} (pid ${pid})`);
    }
  }
  return holders;
}
