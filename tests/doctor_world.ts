/**
 * What the doctor's tests share: a host on which all is well, what may be wrong with it, and a run to judge it for.
 *
 * @module
 */
import { defaultRunConfig, type RunConfig } from "../config/mod.ts";
import { examine } from "../doctor/examine.ts";
import { FakeHost, type FakeHostOptions } from "../doctor/fake_host.ts";
import type { Finding } from "../doctor/findings.ts";
import type { Subject } from "../doctor/subject.ts";
import { type IntentChanges, intentWith } from "./fixtures/intents.ts";

/** A gateway's run, unless `changes` says otherwise. */
export function subjectOf(changes: IntentChanges & Partial<Pick<RunConfig, "rules">> = {}): Subject {
  const { rules = "auto", ...intentChanges } = changes;
  const intent = intentWith({ udp: "tproxy", udpWorkers: 2, from: ["lan0"], ...intentChanges });
  const { tcp, udp, udpWorkers: workers, from, local, port, source, onProxyDown } = intent;
  return {
    intent,
    config: { ...defaultRunConfig(), tcp, udp, workers, from, local, port, source, onProxyDown, rules },
  };
}

/** `ip -N -d -j -4 rule list` of a host that nobody has touched. */
export const PLAIN_RULES = [
  { priority: 0, src: "all", table: "255", protocol: "2" },
  { priority: 32766, src: "all", table: "254", protocol: "2" },
  { priority: 32767, src: "all", table: "253", protocol: "2" },
];

const LINKS = [
  { ifname: "lo", flags: ["LOOPBACK", "UP"], addr_info: [{ family: "inet" }, { family: "inet6" }] },
  { ifname: "lan0", flags: ["UP"], addr_info: [{ family: "inet" }, { family: "inet6" }] },
  { ifname: "wan0", flags: ["UP"], addr_info: [{ family: "inet" }, { family: "inet6" }] },
];

const ETHTOOL = "Features for lan0:\ngeneric-receive-offload: on\nrx-udp-gro-forwarding: on [requested on]\n";

const SYSCTLS: Readonly<Record<string, string>> = {
  "fs/file-max": "9223372036854775807",
  "fs/file-nr": "1600\t0\t9223372036854775807",
  "fs/nr_open": "1048576",
  "net/bridge/bridge-nf-call-ip6tables": "0",
  "net/bridge/bridge-nf-call-iptables": "0",
  "net/core/somaxconn": "4096",
  "net/ipv4/ip_local_port_range": "32768\t60999",
  "net/ipv4/ip_local_reserved_ports": "",
  "net/ipv4/tcp_fwmark_accept": "0",
  "net/ipv4/tcp_syncookies": "1",
  "net/netfilter/nf_conntrack_buckets": "262144",
  "net/netfilter/nf_conntrack_count": "120",
  "net/netfilter/nf_conntrack_max": "262144",
  ...Object.fromEntries(["all", "lo", "lan0", "wan0"].flatMap((name) => [
    [`net/ipv4/conf/${name}/forwarding`, "1"],
    [`net/ipv4/conf/${name}/route_localnet`, "0"],
    [`net/ipv4/conf/${name}/rp_filter`, "0"],
    [`net/ipv4/conf/${name}/src_valid_mark`, "0"],
    [`net/ipv6/conf/${name}/disable_ipv6`, "0"],
    [`net/ipv6/conf/${name}/forwarding`, "1"],
  ])),
};

/** How a host differs from one on which all is well. */
export interface Changes {
  /** Keys below /proc/sys. */
  readonly sysctls?: Readonly<Record<string, string>>;
  readonly files?: Readonly<Record<string, string>>;
  readonly symlinks?: Readonly<Record<string, string>>;
  readonly commands?: FakeHostOptions["commands"];
  readonly lacks?: readonly string[];
}

/** The host. */
export function hostWith(
  { sysctls = {}, files = {}, symlinks = {}, commands = {}, lacks = [] }: Changes,
): FakeHost {
  const rules = JSON.stringify(PLAIN_RULES);
  return new FakeHost({
    files: {
      "/proc/self/status": "Name:\tdeno\nCapEff:\t000001ffffffffff\n",
      "/proc/self/limits": "Max open files            1048576              1048576              files     \n",
      ...Object.fromEntries(
        Object.entries({ ...SYSCTLS, ...sysctls }).map(([key, value]) => [`/proc/sys/${key}`, `${value}\n`]),
      ),
      ...files,
    },
    symlinks,
    commands: {
      "ip -j -d addr show": JSON.stringify(LINKS),
      "ip -N -d -j -4 rule list": rules,
      "ip -N -d -j -6 rule list": rules,
      "nft -s -t list ruleset": "",
      "ethtool -k lan0": ETHTOOL,
      "ethtool -k wan0": ETHTOOL,
      ...commands,
    },
    lacks,
  });
}

/** The findings of such a host, but for those that are fine. */
export async function unwell(changes: Changes, subject: Subject = subjectOf()): Promise<Finding[]> {
  return (await examine(subject, hostWith(changes))).filter(({ severity }) => severity !== "ok");
}

/** Id and severity of each. */
export function namesOf(findings: readonly Finding[]): string[] {
  return findings.map(({ id, severity }) => `${severity} ${id}`);
}
