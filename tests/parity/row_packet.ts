/**
 * A row as the interpreter has it: the packet with what conntrack and the kernel's socket tables will say of it.
 *
 * @module
 */
import { evaluate } from "../../nft/evaluate.ts";
import {
  FIRST_OF_FLOW,
  type Flow,
  type FoundSocket,
  OPEN_FLOW,
  type Packet,
  type PacketHost,
} from "../../nft/packet.ts";
import type { Evaluation } from "../../nft/evaluation.ts";
import type { Plan } from "../../nft/plan.ts";
import { outgoingInterface } from "./places.ts";
import { isIcmp, type Row, type Segment } from "./row.ts";

/** The uid, gid and cgroup of every program in the lab. */
const OWNER = { uid: 0, gid: 0, cgroup: "" } as const;

/** Number `id` of the table, for a host whose proxy is up when `sockets` says so. */
export function packetOf(row: Row, id: number, plan: Plan, host: PacketHost): Packet {
  const bare = barePacket(row, row.segment, id);
  const isUp = host.proxy === "up";
  switch (row.history) {
    case "first":
      return { ...bare, flow: firstFlow(row.segment), socket: isUp ? boundSocket(row) : null };
    case "seen":
      return { ...bare, flow: OPEN_FLOW };
    case "answer":
      return { ...bare, flow: { ...OPEN_FLOW, direction: "reply" } };
    case "taken":
    case "handshake": {
      const first = evaluateFirst(row, id, plan, host);
      return { ...bare, flow: laterFlow(row, first), socket: isUp ? takenSocket(row, plan, first) : null };
    }
  }
}

/** What becomes of the first packet of the row's flow while the proxy is up. */
export function evaluateFirst(row: Row, id: number, plan: Plan, host: PacketHost): Evaluation {
  const first = barePacket(row, row.segment === "udp" ? "udp" : "syn", id);
  return evaluate(plan, first, { ...host, proxy: "up" });
}

function barePacket(row: Row, segment: Segment, id: number): Packet {
  const { way } = row;
  const isPortless = isIcmp(segment);
  return {
    family: row.family,
    protocol: isPortless ? "icmp" : segment === "udp" ? "udp" : "tcp",
    source: row.source,
    sourcePort: isPortless ? 0 : id,
    destination: row.destination,
    destinationPort: isPortless ? 0 : row.port,
    tcpFirst: segment === "syn",
    dontFragment: row.dontFragment === true,
    way: way.kind === "arriving"
      ? { kind: "arriving", interface: way.interface, mac: way.mac }
      : { kind: "sent", interface: outgoingInterface(row.destination), owner: OWNER },
    mark: way.mark,
    flow: firstFlow(segment),
    socket: null,
  };
}

/** Conntrack opens a flow for an ACK it knows nothing of, but not for what can only come later, or be about one. */
function firstFlow(segment: Segment): Flow {
  return ["syn+ack", "rst", "fin+ack", "unreachable"].includes(segment)
    ? { tracking: "invalid" }
    : FIRST_OF_FLOW;
}

function laterFlow(row: Row, first: Evaluation): Flow {
  if (first.untracked) return { tracking: "untracked" };
  // What is lost leaves no entry.
  if (first.verdict === "drop") return firstFlow(row.segment);
  const redirectedTo = first.how === "redirect" && typeof first.verdict === "object"
    ? first.verdict.taken[0] ?? null
    : null;
  const open = row.segment === "udp" ? { ...FIRST_OF_FLOW, seen: true } : OPEN_FLOW;
  return { ...open, mark: first.flowMark ?? 0, redirectedTo };
}

/** The connection that a listener has accepted, or is about to. */
function takenSocket(row: Row, { intent }: Plan, first: Evaluation): FoundSocket | null {
  if (row.segment === "udp" || typeof first.verdict !== "object") return null;
  const isInbound = first.verdict.taken.includes(intent.sidecar?.inboundPort ?? -1);
  return {
    transparent: true,
    wildcard: false,
    mark: isInbound && intent.source === "keep" ? intent.marks.reply : 0,
  };
}

function boundSocket({ socket }: Row): FoundSocket | null {
  return socket === undefined ? null : { ...socket, wildcard: false };
}
