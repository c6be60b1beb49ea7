/**
 * What is put into a scratch namespace around the rules on trial: it gives the packet its mark, asks for a trace,
 * says whether the packet was delivered, left, or was lost between, and lets nothing that is delivered be answered.
 * Pure; the tool is the one on trial, for the host may have no other.
 *
 * @module
 */
import type { Packet } from "../nft/packet.ts";
import type { BackendName } from "../nft/mod.ts";

/** Where a packet went. */
export type Fate = "delivered" | "left" | "lost";

/** Packets that were delivered to the namespace, or left it by another interface than lo. */
export interface FateCounts {
  readonly delivered: number;
  readonly left: number;
}

/** A command, and what it reads. */
export interface GuardCommand {
  readonly argv: readonly string[];
  readonly stdin: string;
}

/** Puts the guard there. @param tracks whether conntrack must look at packets that no rule on trial asks it about. */
export function guardCommand(packet: Packet, backend: BackendName, tracks: boolean): GuardCommand {
  if (backend === "nft") return { argv: ["nft", "-f", "-"], stdin: nftGuard(packet, tracks) };
  const stdin = iptablesGuard(packet, tracks);
  return { argv: [`${programStart(packet, backend)}-restore`, "--noflush"], stdin };
}

/** Marks the packet and has it traced, before every rule on trial: given when those are there. */
export function labelCommand(packet: Packet, backend: BackendName): GuardCommand {
  if (backend === "nft") return { argv: ["nft", "-f", "-"], stdin: nftLabel(packet) };
  const stdin = iptablesLabel(packet, backend);
  return { argv: [`${programStart(packet, backend)}-restore`, "--noflush"], stdin };
}

/** Asks for what {@linkcode readFateCounts} reads. */
export function fateCommand(packet: Packet, backend: BackendName): readonly string[] {
  if (backend === "nft") return ["nft", "list", "table", "inet", TABLE];
  return [`${programStart(packet, backend)}-save`, "-c"];
}

/** The guard's counters. */
export function readFateCounts(listing: string): FateCounts {
  return { delivered: count(listing, "delivered"), left: count(listing, "left") };
}

/** Where the one packet between two readings went. */
export function fateBetween(before: FateCounts, after: FateCounts): Fate {
  if (after.delivered > before.delivered) return "delivered";
  return after.left > before.left ? "left" : "lost";
}

const TABLE = "scratch_guard";

function nftGuard(packet: Packet, tracks: boolean): string {
  return [
    `table inet ${TABLE} {`,
    ...nftChain("post", "postrouting", 400, [
      `oifname != "lo" ${nftFrom(packet)} counter comment "left"`,
      ...(tracks ? ["ct state invalid accept"] : []),
    ]),
    ...nftChain("in", "input", 400, [`${nftFrom(packet)} counter drop comment "delivered"`, "drop"]),
    "}",
    "",
  ].join("\n");
}

function nftLabel(packet: Packet): string {
  const trace = `${nftFrom(packet)} meta nftrace set 1`;
  const marks = isToBeMarked(packet)
    ? [`iifname "${packet.way.interface}" ${nftFrom(packet)} meta mark set 0x${packet.mark.toString(16)}`]
    : [];
  return [
    `table inet ${TABLE} {`,
    ...nftChain("pre", "prerouting", -400, [...marks, trace]),
    ...nftChain("out", "output", -400, [trace]),
    "}",
    "",
  ].join("\n");
}

function nftChain(name: string, hook: string, priority: number, rules: readonly string[]): string[] {
  return [`chain ${name} {`, `type filter hook ${hook} priority ${priority};`, ...rules, "}"];
}

function nftFrom({ family, source }: Packet): string {
  return `${family === 4 ? "ip" : "ip6"} saddr ${source}`;
}

/** What is sent carries its socket's mark from the start. */
function isToBeMarked({ way, mark }: Packet): boolean {
  return way.kind === "arriving" && mark !== 0;
}

function iptablesGuard({ source }: Packet, tracks: boolean): string {
  return [
    "*mangle",
    `-A POSTROUTING ! -o lo -s ${source} -m comment --comment left -j ACCEPT`,
    ...(tracks ? ["-A POSTROUTING -m conntrack --ctstate INVALID -j ACCEPT"] : []),
    "COMMIT",
    "*filter",
    `-A INPUT -s ${source} -m comment --comment delivered -j DROP`,
    "-A INPUT -j DROP",
    "COMMIT",
    "",
  ].join("\n");
}

function iptablesLabel(packet: Packet, backend: BackendName): string {
  const { source, way, mark } = packet;
  // The older flavour's trace goes to the kernel's log, which is not ours to read: there the counters have to tell.
  const traces = backend === "iptables"
    ? [`-I PREROUTING -s ${source} -j TRACE`, `-I OUTPUT -s ${source} -j TRACE`]
    : [];
  const marks = isToBeMarked(packet)
    ? [`-I PREROUTING -i ${way.interface} -s ${source} -j MARK --set-mark 0x${mark.toString(16)}`]
    : [];
  return ["*raw", ...traces, ...marks, "COMMIT", ""].join("\n");
}

function programStart({ family }: Packet, backend: BackendName): string {
  return `${family === 4 ? "ip" : "ip6"}tables-${backend === "iptables" ? "nft" : "legacy"}`;
}

function count(listing: string, comment: string): number {
  for (const line of listing.split("\n")) {
    if (!new RegExp(`comment "?${comment}"?( |$)`).test(line)) continue;
    return Number(
      /^\[(\d+):|counter packets (\d+)/.exec(line.trim())?.slice(1).find((text) => text !== undefined),
    );
  }
  return 0;
}
