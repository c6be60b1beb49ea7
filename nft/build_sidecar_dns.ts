/**
 * A pod's DNS: its programs' queries are rewritten to our port, and ours go where they are going.
 *
 * The two meet in conntrack: our query may come to have the very ports that a program's has. So they are tracked in
 * zones of their own, and so is each answer with its query.
 *
 * @module
 */
import { UPSTREAM_ZONE } from "./build_keep.ts";
import type { InterceptIntent, SidecarDns, SidecarIntent } from "./intent.ts";
import { always, first, incoming, outgoing, packetMark, toPorts } from "./matches.ts";
import type { BaseChain, Match, Rule } from "./plan.ts";

const DNS = { first: 53, last: 53 } as const;
/** Conntrack zone for what programs ask and what we answer. */
const PROGRAMS_ZONE = 7874;

/** In the raw tables, before conntrack looks. */
export function dnsChains(intent: InterceptIntent, sidecar: SidecarIntent, dns: SidecarDns): BaseChain[] {
  const ours: Match[] = [packetMark(intent.marks.bypass), ...proxyOwners(sidecar)];
  const query = toPorts("udp", [DNS]);
  const answer = (port: number): Match => ({
    kind: "ports",
    protocol: "udp",
    side: "source",
    ports: [{ first: port, last: port }],
  });
  const zone = (zone: number) => ({ kind: "zone", zone }) as const;
  return [{
    name: "side_dns_out",
    type: "filter",
    hook: "output",
    priority: "raw",
    interfaces: "any",
    why: "Queries as they leave, and our answers.",
    rules: [
      ...leftAlone(sidecar, outgoing),
      ...ours.map((match, i) =>
        always(`ours-${i + 1}`, [query, match], zone(UPSTREAM_ZONE), "what we ask is tracked apart")
      ),
      ...ours.map((match, i) =>
        always(
          `answer-${i + 1}`,
          [answer(dns.port), match],
          zone(PROGRAMS_ZONE),
          "what we answer, with the query",
        )
      ),
      ...servers(dns, "destination").map((match, i) =>
        always(
          `query-${i + 1}`,
          [query, ...match],
          zone(PROGRAMS_ZONE),
          "what a program asks is tracked apart",
        )
      ),
    ],
  }, {
    name: "side_dns_in",
    type: "filter",
    hook: "prerouting",
    priority: "raw",
    interfaces: "any",
    why: "Answers of resolvers.",
    rules: [
      ...leftAlone(sidecar, incoming),
      ...servers(dns, "source").map((match, i) =>
        always(`answer-${i + 1}`, [answer(DNS.first), ...match], zone(UPSTREAM_ZONE), "to what we asked")
      ),
    ],
  }];
}

/** In the nat table, after what we send ourselves has been let go. */
export function dnsRedirects(dns: SidecarDns): Rule[] {
  const to = { kind: "redirect", port: dns.port } as const;
  return servers(dns, "destination").flatMap((match, i) => [
    first(`dns-udp-${i + 1}`, [toPorts("udp", [DNS]), ...match], to, "a query is answered by us"),
    first(
      `dns-tcp-${i + 1}`,
      [toPorts("tcp", [DNS]), { kind: "tcpFirst" }, ...match],
      to,
      "a query is answered by us",
    ),
  ]);
}

/** What each rule asks of an address beside the port: nothing where every resolver is meant. */
function servers({ servers }: SidecarDns, side: "destination" | "source"): Match[][] {
  if (servers.length === 0) return [[]];
  return servers.map((address) => {
    const family = address.includes(":") ? 6 : 4;
    return [{ kind: "address", side, family, prefix: `${address}/${family === 4 ? 32 : 128}` }];
  });
}

/** What comes in or leaves by an excluded interface, whichever way `match` looks. */
export function leftAlone({ excludeInterfaces }: SidecarIntent, match: (name: string) => Match): Rule[] {
  return excludeInterfaces.map((name, i) =>
    always(`not-if-${i + 1}`, [match(name)], { kind: "pass" }, "excluded interface")
  );
}

/** One match for each way to tell that the proxy has sent a packet, beside its marks. */
export function proxyOwners({ proxyUids, proxyGids }: SidecarIntent): Match[] {
  return [
    ...proxyUids.map((ids): Match => ({ kind: "owner", of: "uid", ids })),
    ...proxyGids.map((ids): Match => ({ kind: "owner", of: "gid", ids })),
  ];
}
