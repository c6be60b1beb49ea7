/**
 * Whether a firewall drops what is intercepted, and whether flows can pass the rules by.
 *
 * @module
 */
import { type Finding, finding, fine } from "./findings.ts";
import { describeTable, everyRule, type FirewallChain, type FirewallTable } from "./firewall.ts";
import type { HostFacts } from "./host_facts.ts";
import { type InputVerdict, inputVerdict } from "./input_verdict.ts";
import { isOurChain } from "./ourselves.ts";
import type { ArrivingPacket } from "./rule_terms.ts";
import { concernedLinks, namesTraffic, type Subject } from "./subject.ts";

/** Judges them. */
export function judgeFirewalls(facts: HostFacts, subject: Subject): Finding[] {
  return [
    ...judgeUnread(facts),
    ...judgeInput(facts, subject),
    judgeOffload(facts, subject),
  ];
}

function judgeUnread(facts: HostFacts): Finding[] {
  if (facts.unread.length === 0) {
    return [fine("firewalls.read", "rules and routes of all tools could be read")];
  }
  const unread = facts.unread.map(({ what }) => what).join(", ");
  return [finding("warning", "firewalls.read", {
    found: `could not be read: ${unread} (${facts.unread[0]!.said.split("\n")[0]})`,
    breaks: "this judgement: other programs' rules that are in our way are not seen",
    mend: facts.isPrivileged ? "apt-get install nftables iproute2" : "sudo pellucid doctor",
  })];
}

/** Intercepted flows as they arrive, each kind once. */
function arrivals(facts: HostFacts, subject: Subject): ArrivingPacket[] {
  const { intent } = subject;
  const { marks } = intent;
  const protocols = (["tcp", "udp"] as const).filter((protocol) => intent[protocol] !== "off");
  const ways = [
    ...concernedLinks(facts.links, subject).map(({ name }) => ({ incoming: name, mark: marks.intercept })),
    ...(intent.local ? [{ incoming: "lo", mark: (marks.intercept | marks.fromHere) >>> 0 }] : []),
  ];
  return ways.flatMap(({ incoming, mark }) =>
    protocols.flatMap((protocol) =>
      (["ip", "ip6"] as const).map((family) => {
        const redirected = intent[protocol] === "redirect";
        return { family, protocol, incoming, mark: redirected ? 0 : mark, redirected };
      })
    )
  );
}

function isFor(table: FirewallTable, { family }: ArrivingPacket): boolean {
  return table.family === "inet" || table.family === family;
}

function judgeInput(facts: HostFacts, subject: Subject): Finding[] {
  // A pod's firewall is its sidecar's maker's matter: REDIRECT ends at a port that is opened like any other.
  if (subject.intent.sidecar !== null) return [];
  const packets = arrivals(facts, subject);
  const findings = facts.firewall.flatMap((table) =>
    table.chains.filter((chain) => chain.base?.hook === "input" && !isOurChain(table, chain)).flatMap((
      chain,
    ) => judgeChain(table, chain, packets, subject))
  );
  return findings.length === 0
    ? [fine("firewalls.input", "no input chain drops what is intercepted")]
    : findings;
}

function judgeChain(
  table: FirewallTable,
  chain: FirewallChain,
  packets: readonly ArrivingPacket[],
  subject: Subject,
): Finding[] {
  const lost: { readonly packet: ArrivingPacket; readonly verdict: InputVerdict }[] = [];
  for (const packet of packets) {
    if (!isFor(table, packet)) continue;
    const verdict = inputVerdict(table, chain, packet);
    if (verdict !== "accepted") lost.push({ packet, verdict });
  }
  if (lost.length === 0) return [];
  const kinds = [...new Set(lost.map(({ packet }) => `${packet.protocol} from ${packet.incoming}`))];
  const isSure = lost.some(({ verdict }) => verdict === "dropped");
  return [
    finding(
      !namesTraffic(subject) ? "info" : isSure ? "error" : "warning",
      `firewalls.input:${table.tool}/${table.family}/${table.name}/${chain.name}`,
      {
        found: `${describeTable(table)}, chain ${chain.name}: ${
          isSure ? "drops" : "may drop"
        } what is intercepted (${kinds.join(", ")})`,
        breaks: "new connections hang, and datagrams are lost, although everything else is in place",
        mend: mendInput(table, chain, lost[0]!.packet, subject),
      },
    ),
  ];
}

function mendInput(
  table: FirewallTable,
  chain: FirewallChain,
  packet: ArrivingPacket,
  { intent: { marks } }: Subject,
): string {
  const hex = (value: number) => `0x${value.toString(16).padStart(8, "0")}`;
  const isFirewalld = table.name === "firewalld" || table.chains.some(({ name }) => name.endsWith("_ZONES"));
  if (isFirewalld) return `firewall-cmd --permanent --zone=trusted --add-interface=${packet.incoming}`;
  if (table.tool === "nft") {
    const condition = packet.redirected
      ? "ct status dnat"
      : `meta mark '&' ${hex(marks.mask)} == ${hex(marks.intercept)}`;
    return `nft insert rule ${table.family} ${table.name} ${chain.name} ${condition} accept`;
  }
  const prefix = table.family === "ip6" ? "ip6" : "ip";
  const program = `${prefix}tables${table.tool === "iptables-legacy" ? "-legacy" : ""}`;
  const condition = packet.redirected
    ? "-m conntrack --ctstate DNAT"
    : `-m mark --mark ${hex(marks.intercept)}/${hex(marks.mask)}`;
  const where = table.name === "filter" ? "" : ` -t ${table.name}`;
  return `${program}${where} -I ${chain.name} 1 ${condition} -j ACCEPT`;
}

function judgeOffload({ firewall }: HostFacts, subject: Subject): Finding {
  const found: string[] = [];
  let mend: string | undefined;
  for (const table of firewall) {
    for (const { name, devices } of table.flowtables) {
      const concerned = devices.filter((device) =>
        !namesTraffic(subject) || subject.intent.from.includes(device)
      );
      found.push(`${describeTable(table)}, flowtable ${name} (${devices.join(", ")})`);
      mend ??= `nft delete flowtable ${table.family} ${table.name} ${name} '{ devices = { ${
        (concerned.length > 0 ? concerned : devices).join(", ")
      } }; }'`;
    }
  }
  for (const { table, chain, rule } of everyRule(firewall)) {
    if (!/-j FLOWOFFLOAD\b/.test(rule.text)) continue;
    found.push(`${describeTable(table)}, chain ${chain.name}: ${rule.text}`);
    mend ??= `${table.family === "ip6" ? "ip6tables" : "iptables"} -D ${chain.name} ${rule.text}`;
  }
  if (found.length === 0) return fine("firewalls.offload", "no flow passes the rules by");
  return finding("warning", "firewalls.offload", {
    found: `forwarded flows are offloaded: ${found.join("; ")}`,
    breaks:
      "flows that began while no proxy ran: their packets pass all rules by for as long as they last, UDP above " +
      "all. What is intercepted is not forwarded, and never offloaded",
    mend: mend ?? null,
  });
}
