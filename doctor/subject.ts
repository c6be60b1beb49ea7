/**
 * What the host is judged for: the rules that are to be run on it.
 *
 * @module
 */
import type { RunConfig } from "../config/mod.ts";
import type { PortRange } from "../net/mod.ts";
import type { InterceptIntent, Marks } from "../nft/intent.ts";
import type { LinkFact } from "./links.ts";

/** A run, as far as the host matters. Where it names no traffic, the host is judged as a gateway's that may come. */
export interface Subject {
  readonly config: RunConfig;
  /** What `config` means on this host. */
  readonly intent: InterceptIntent;
}

/** Whether forwarded traffic is to be taken. */
export function isGateway({ intent }: Subject): boolean {
  return intent.from.length > 0;
}

/** Whether anything is named that is to be taken. */
export function namesTraffic({ intent }: Subject): boolean {
  return intent.from.length > 0 || intent.local || intent.sidecar !== null;
}

/** The interfaces by which traffic to be taken comes in, or could. */
export function concernedLinks(links: readonly LinkFact[], subject: Subject): readonly LinkFact[] {
  const others = links.filter(({ name }) => name !== "lo");
  return namesTraffic(subject) ? others.filter(({ name }) => subject.intent.from.includes(name)) : others;
}

/** Whether marked packets are routed to this host. */
export function usesTproxy({ intent: { tcp, udp, sidecar } }: Subject): boolean {
  return tcp === "tproxy" || udp === "tproxy" || sidecar?.inbound === "tproxy";
}

/** Ports that we listen on, by protocol. */
export function ourPorts(
  { intent }: Subject,
): { readonly tcp: readonly PortRange[]; readonly udp: readonly PortRange[] } {
  const { port, udpWorkers, sidecar } = intent;
  const one = (number: number): PortRange => ({ first: number, last: number });
  const dns = sidecar === null || sidecar.dns === null ? [] : [one(sidecar.dns.port)];
  return {
    tcp: [
      ...(intent.tcp === "off" ? [] : [one(port)]),
      ...(sidecar === null || sidecar.inbound === "off" ? [] : [one(sidecar.inboundPort)]),
      ...dns,
    ],
    udp: [...(intent.udp === "off" ? [] : [{ first: port, last: port + udpWorkers - 1 }]), ...dns],
  };
}

/** Every bit of a packet's mark that we read or write. */
export function ourBits({ mask, dontFragment, fromHere }: Marks): number {
  return (mask | dontFragment | fromHere) >>> 0;
}
