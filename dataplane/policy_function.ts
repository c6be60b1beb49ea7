/**
 * What a policy module is: its default export decides, for each new flow, which way it leaves. Types only; a module
 * that imports them imports nothing when it runs.
 *
 * @module
 */

/** One end of a flow. */
export interface PolicyEndpoint {
  /** Of the address. An IPv4 address is never shown as an IPv6 one. */
  readonly family: 4 | 6;
  /** The address as text, IPv6 in its shortest form (RFC 5952). Made when it is asked for. */
  readonly address: string;
  /** Its 4 or 16 bytes, first byte first; a new array each time. */
  readonly bytes: Uint8Array;
  /** 0 to 65535. */
  readonly port: number;
}

/**
 * A new flow: a TCP connection, or the datagrams between a client's address and port and a destination's.
 *
 * It is valid during the call alone: after that, asking it anything throws. What it tells is made when it is asked for,
 * so that what a policy does not look at costs nothing.
 */
export interface PolicyFlow {
  /** A connection, or datagrams. */
  readonly network: "tcp" | "udp";
  /** Who begins it. */
  readonly client: PolicyEndpoint;
  /** Where it was going. */
  readonly destination: PolicyEndpoint;
  /** Index of the interface that its first packet came in by; 0: not known, or it is this host's own. A system call. */
  readonly interfaceIndex: number;
  /** That interface's name; undefined: the same. Two system calls. */
  readonly interfaceName: string | undefined;
  /** Differentiated services codepoint of its first packet, 0 to 63; -1: not known. A system call. */
  readonly dscp: number;
  /** User that owns the sending socket, where that is on this host; -1: not known. Two system calls. */
  readonly uid: number;
}

/**
 * Which way a flow leaves: by the upstream or the group of that name (`"direct"` and `"block"` are always among them),
 * or not at all, in the manner that is given.
 */
export type PolicyDecision = string | {
  /** `reset`: refused; `icmp`: told that it is prohibited; `drop`: nobody hears anything. */
  readonly block: "reset" | "icmp" | "drop";
};

/**
 * The default export of a policy module.
 *
 * It answers at once: it runs in the thread that carries the traffic, which never returns to its event loop. So neither
 * promises nor timers come to anything there. undefined: the configuration's rules decide.
 *
 * ```ts
 * import type { PolicyFunction } from "./mod.ts";
 *
 * const decide: PolicyFunction = (flow) => flow.destination.port === 25 ? "block" : undefined;
 * export default decide;
 * ```
 */
export type PolicyFunction = (flow: PolicyFlow) => PolicyDecision | undefined;
