/**
 * Interfaces: lo, which marked packets are routed to, addresses, IPv6, and what cards do to datagrams.
 *
 * @module
 */
import { type Finding, finding, fine } from "./findings.ts";
import type { HostFacts } from "./host_facts.ts";
import { concernedLinks, type Subject, usesTproxy } from "./subject.ts";

/** Judges them. */
export function judgeLinks(facts: HostFacts, subject: Subject): Finding[] {
  return [
    judgeLoopback(facts, subject),
    judgeIpv6(facts),
    ...judgeNames(facts, subject),
    ...judgeAddresses(facts, subject),
    ...judgeOffloads(facts, subject),
  ];
}

function judgeLoopback({ links }: HostFacts, subject: Subject): Finding {
  const isUp = links.some(({ name, isUp }) => name === "lo" && isUp);
  if (isUp || links.length === 0) return fine("links.loopback", "lo is up");
  return finding(
    usesTproxy(subject) || subject.intent.source === "keep" ? "error" : "warning",
    "links.loopback",
    {
      found: "lo is down",
      breaks: "TPROXY and --source keep: marked packets are routed to lo, and lost",
      mend: "ip link set lo up",
    },
  );
}

function judgeIpv6({ sysctls, links }: HostFacts): Finding {
  const isOff = sysctls.get("net/ipv6/conf/lo/disable_ipv6");
  if (isOff === "0") return fine("links.ipv6", "lo speaks IPv6");
  // The finding is about traffic that there may be: a host without IPv6 forwards none.
  const others = links.some(({ name, families }) => name !== "lo" && families.includes(6));
  return finding(others ? "warning" : "info", "links.ipv6", {
    found: isOff === undefined ? "the kernel has no IPv6" : "IPv6 is off on lo",
    breaks: "IPv6 connections and datagrams: they pass by untouched",
    mend: isOff === undefined ? "boot without ipv6.disable=1" : "sysctl -w net.ipv6.conf.lo.disable_ipv6=0",
  });
}

function judgeNames({ links }: HostFacts, { intent }: Subject): Finding[] {
  if (links.length === 0) return [];
  return intent.from.flatMap((name): Finding[] => {
    const link = links.find((one) => one.name === name);
    if (link === undefined) {
      return [finding("error", `links.interface:${name}`, {
        found: `there is no interface ${name}`,
        breaks: "the start: `interface-unknown`",
        mend: "ip link",
      })];
    }
    const port = link.master === undefined ? undefined : links.find((one) => one.name === link.master);
    if (port?.kind === "bridge") {
      return [finding("warning", `links.interface:${name}`, {
        found: `${name} is a port of the bridge ${port.name}`,
        breaks:
          "packets that are routed come in by the bridge to the rules, not by its port: nothing is taken",
        mend: `pellucid run --from ${port.name}`,
      })];
    }
    if (link.isUp) return [fine(`links.interface:${name}`, `${name} is up`)];
    return [finding("warning", `links.interface:${name}`, {
      found: `${name} is down`,
      breaks: "its clients",
      mend: `ip link set ${name} up`,
    })];
  });
}

/** REDIRECT sends a packet to the first address of the interface it came in by, and drops it without one. */
function judgeAddresses({ links }: HostFacts, { intent }: Subject): Finding[] {
  if (intent.tcp !== "redirect") return [];
  return links.filter(({ name }) => intent.from.includes(name)).flatMap(({ name, families }) =>
    ([4, 6] as const).filter((family) => !families.includes(family)).map((family) =>
      finding("warning", `links.address:${name}/${family}`, {
        found: `${name} has no IPv${family} address`,
        breaks: `--tcp redirect: IPv${family} connections that come in by it are lost`,
        mend: "pellucid run --tcp tproxy",
      })
    )
  );
}

function judgeOffloads({ links }: HostFacts, subject: Subject): Finding[] {
  const cards = concernedLinks(links, subject);
  if (cards.some(({ offloads }) => offloads === undefined)) {
    return [finding("info", "links.gro", {
      found: "ethtool is not installed: what cards merge was not looked at",
      breaks: "",
      mend: "apt-get install ethtool",
    })];
  }
  return cards.flatMap(({ name, offloads }): Finding[] => {
    if (offloads?.get("generic-receive-offload") === "off") {
      return [finding("info", `links.gro:${name}`, {
        found: `${name}: generic-receive-offload is off`,
        breaks: "speed: each packet of a bulk transfer passes the rules by itself",
        mend: `ethtool -K ${name} gro on`,
      })];
    }
    if (subject.intent.udp !== "off" && offloads?.get("rx-udp-gro-forwarding") === "off") {
      return [finding("info", `links.gro:${name}`, {
        found: `${name}: rx-udp-gro-forwarding is off`,
        breaks: "speed of UDP (QUIC): datagrams of one flow come one by one",
        mend: `ethtool -K ${name} rx-udp-gro-forwarding on`,
      })];
    }
    return offloads?.size === 0 ? [] : [fine(`links.gro:${name}`, `${name} merges what belongs together`)];
  });
}
