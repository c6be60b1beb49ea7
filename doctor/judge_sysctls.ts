/**
 * Settings of the kernel that decide whether intercepted packets arrive, and what becomes of the others.
 *
 * @module
 */
import { type Finding, finding, fine } from "./findings.ts";
import type { HostFacts } from "./host_facts.ts";
import { concernedLinks, isGateway, namesTraffic, type Subject, usesTproxy } from "./subject.ts";

/** Judges them. */
export function judgeSysctls(facts: HostFacts, subject: Subject): Finding[] {
  return [
    ...judgeForwarding(facts, subject),
    judgeReversePath(facts, subject),
    judgeValidMark(facts, subject),
    judgeRouteLocalnet(facts, subject),
    ...judgeBridges(facts, subject),
    judgeMarkAccept(facts),
    judgeSynCookies(facts, subject),
  ];
}

/** The kernel takes the larger of the two, which for switches means either of them. */
function effective(facts: HostFacts, link: string, setting: string): number {
  const read = (name: string) => Number(facts.sysctls.get(`net/ipv4/conf/${name}/${setting}`) ?? 0);
  return Math.max(read("all"), read(link));
}

function linksWith(facts: HostFacts, subject: Subject, setting: string, value: number): string[] {
  return concernedLinks(facts.links, subject)
    .map(({ name }) => name)
    .filter((name) => effective(facts, name, setting) === value);
}

function judgeForwarding(facts: HostFacts, subject: Subject): Finding[] {
  const concerned = concernedLinks(facts.links, subject).map(({ name }) => name);
  return ([4, 6] as const).map((family): Finding => {
    const [folder, id] = family === 4
      ? ["ipv4", "settings.forwarding-4"] as const
      : ["ipv6", "settings.forwarding-6"] as const;
    const off = concerned.filter((name) =>
      facts.sysctls.get(`net/${folder}/conf/${name}/forwarding`) === "0"
    );
    const key = family === 4 ? "net.ipv4.ip_forward" : "net.ipv6.conf.all.forwarding";
    if (off.length === 0 || subject.intent.sidecar !== null) return fine(id, `IPv${family} is forwarded`);
    return finding(!isGateway(subject) ? "info" : family === 4 ? "error" : "warning", id, {
      found: `IPv${family} is not forwarded (${off.join(", ")})`,
      breaks:
        "a gateway: what is not intercepted (ICMP, exclusions, direct rules of the policy, everything while " +
        "no proxy runs) goes nowhere",
      mend: `sysctl -w ${key}=1`,
    });
  });
}

function judgeReversePath(facts: HostFacts, subject: Subject): Finding {
  const strict = linksWith(facts, subject, "rp_filter", 1);
  if (strict.length === 0) return fine("settings.rp-filter", "no strict source check on these interfaces");
  const others = subject.intent.source === "keep" ? subject.intent.otherInterfaces : [];
  const strictOthers = others.filter((name) => effective(facts, name, "rp_filter") === 1);
  if (strictOthers.length > 1) {
    return finding("warning", "settings.rp-filter", {
      found: `rp_filter is 1 on ${strictOthers.join(", ")}`,
      breaks:
        "--source keep: answers of a destination that come in by another interface than leads to it are lost",
      mend: `sysctl -w ${strictOthers.map((name) => `net.ipv4.conf.${name}.rp_filter=2`).join(" ")}`,
    });
  }
  return finding("info", "settings.rp-filter", {
    found: `rp_filter is 1 on ${strict.join(", ")}`,
    breaks:
      "clients that are reached by another interface than they come in by; interception itself works with it",
    mend: `sysctl -w net.ipv4.conf.all.rp_filter=0 ${
      strict.map((name) => `net.ipv4.conf.${name}.rp_filter=2`).join(" ")
    }`,
  });
}

function judgeValidMark(facts: HostFacts, subject: Subject): Finding {
  const on = linksWith(facts, subject, "src_valid_mark", 1);
  if (on.length === 0) return fine("settings.src-valid-mark", "sources are checked without the mark");
  const { intent } = subject;
  const loose = facts.ipRules.filter(({ mark, incoming, family }) =>
    family === 4 && incoming === undefined && mark !== undefined &&
    ((mark.value & intent.marks.mask) >>> 0) === intent.marks.intercept
  );
  if (loose.length > 0 && usesTproxy(subject)) {
    return finding("error", "settings.src-valid-mark", {
      found: `src_valid_mark is 1 on ${on.join(", ")}, and a routing rule names no interface: ${
        loose[0]!.text
      }`,
      breaks: "TPROXY: the source of what is taken is looked up by that rule, and the packet dropped",
      mend: `ip rule del pref ${loose[0]!.preference}`,
    });
  }
  return finding("info", "settings.src-valid-mark", {
    found: `src_valid_mark is 1 on ${on.join(", ")} (WireGuard and Tailscale set it)`,
    breaks: "TPROXY whose routing rule names no interface; ours name theirs and work with it",
    mend: null,
  });
}

function judgeRouteLocalnet(facts: HostFacts, subject: Subject): Finding {
  const on = linksWith(facts, subject, "route_localnet", 1);
  if (on.length === 0) return fine("settings.route-localnet", "127.0.0.0/8 is not routed");
  return finding("warning", "settings.route-localnet", {
    found: `route_localnet is 1 on ${on.join(", ")}`,
    breaks:
      "the host's safety: neighbours there may reach services that listen on 127.0.0.1 alone; we do not need it",
    mend: `sysctl -w net.ipv4.conf.all.route_localnet=0 ${
      on.map((name) => `net.ipv4.conf.${name}.route_localnet=0`).join(" ")
    }`,
  });
}

function judgeBridges(facts: HostFacts, subject: Subject): Finding[] {
  const bridges = concernedLinks(facts.links, subject).filter(({ kind }) => kind === "bridge").map((
    { name },
  ) => name);
  return (["iptables", "ip6tables"] as const).map((tool): Finding => {
    const id = `settings.bridge-nf-call-${tool}` as const;
    if (facts.sysctls.get(`net/bridge/bridge-nf-call-${tool}`) !== "1") {
      return fine(id, "switched frames do not meet the rules");
    }
    const isConcerned = namesTraffic(subject) && bridges.length > 0;
    return finding(isConcerned ? "warning" : "info", id, {
      found: `bridge-nf-call-${tool} is 1${bridges.length === 0 ? "" : `, bridges: ${bridges.join(", ")}`}`,
      breaks:
        "frames switched between two ports of a bridge meet the rules of IP as well: with --from a bridge, " +
        "traffic between its ports may be taken or lost (Docker sets this, to separate containers)",
      mend: `sysctl -w net.bridge.bridge-nf-call-${tool}=0`,
    });
  });
}

function judgeMarkAccept(facts: HostFacts): Finding {
  if (facts.sysctls.get("net/ipv4/tcp_fwmark_accept") !== "1") {
    return fine("settings.tcp-fwmark-accept", "accepted connections do not take over a packet's mark");
  }
  return finding("info", "settings.tcp-fwmark-accept", {
    found: "tcp_fwmark_accept is 1",
    breaks:
      "answers of this host's services carry the mark of the packet that asked, and are routed by rules on it",
    mend: "sysctl -w net.ipv4.tcp_fwmark_accept=0",
  });
}

/** With a shorter queue of new connections the kernel answers a burst with SYN cookies. */
const SHORTEST_BACKLOG = 512;

function judgeSynCookies(facts: HostFacts, subject: Subject): Finding {
  const cookies = facts.sysctls.get("net/ipv4/tcp_syncookies");
  const backlog = Number(facts.sysctls.get("net/core/somaxconn") ?? Infinity);
  const isTproxy = subject.intent.tcp === "tproxy" || subject.intent.sidecar?.inbound === "tproxy";
  if (isTproxy && cookies === "2") {
    return finding("error", "settings.syn-cookies", {
      found: "tcp_syncookies is 2: every SYN is answered with a cookie",
      breaks: "TPROXY: a connection that began with a cookie has no socket that its packets could be led to",
      mend: "sysctl -w net.ipv4.tcp_syncookies=1",
    });
  }
  if (isTproxy && cookies !== "0" && backlog < SHORTEST_BACKLOG) {
    return finding("warning", "settings.syn-cookies", {
      found: `somaxconn is ${backlog}: a burst of so many new connections is answered with SYN cookies`,
      breaks: "TPROXY: a connection that began with a cookie has no socket that its packets could be led to",
      mend: "sysctl -w net.core.somaxconn=4096",
    });
  }
  return fine("settings.syn-cookies", "SYN cookies are for floods alone");
}
