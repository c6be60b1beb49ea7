/**
 * What a configuration means, in a few lines. Passwords are not among them.
 *
 * @module
 */
import type {
  GroupConfig,
  PolicyRuleConfig,
  RunConfig,
  ServerConfig,
  UpstreamConfig,
} from "../config/mod.ts";
import { describeTraffic } from "../control/plan_for.ts";
import { formatEndpoint, formatIdRange, formatPortRange } from "../net/mod.ts";

/** The lines. */
export function describeConfig(config: RunConfig): string[] {
  const { upstreams, groups, policy, dns } = config;
  const rows: [name: string, text: string][] = [
    ["takes", `${describeTraffic(config) || "what your own rules bring"}: ${describeModes(config)}`],
    ...upstreams.filter(isWorthALine).map((upstream): [string, string] => [
      `upstream ${upstream.name}`,
      describeUpstream(upstream),
    ]),
    ...groups.map((group): [string, string] => [`group ${group.name}`, describeGroup(group)]),
    ...(policy.module === undefined
      ? []
      : [["first of all", `${policy.module} decides`] as [string, string]]),
    ...policy.rules.map((
      rule,
      i,
    ): [string, string] => [`rule ${i + 1}`, `${describeRule(rule)} by ${rule.to}`]),
    [policy.rules.length > 0 ? "the rest" : "all of it", `by ${policy.otherwise}`],
    ...(dns.length > 0
      ? [["dns", `answered by ${dns.map(formatEndpoint).join(", then ")}`] as [string, string]]
      : []),
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, text]) => `  ${name.padEnd(width)}  ${text}`);
}

function describeModes({ tcp, udp, rules, onProxyDown }: RunConfig): string {
  const modes = [...(tcp === "off" ? [] : [`TCP by ${tcp}`]), ...(udp === "off" ? [] : [`UDP by ${udp}`])];
  const tool = rules === "none"
    ? "rules are yours"
    : `rules by ${rules === "auto" ? "the tool that suits" : rules}`;
  return [...modes, tool, ...(onProxyDown === "closed" ? ["dropped while no proxy runs"] : [])].join(", ");
}

/** `direct` and `block` as they always are need none. */
function isWorthALine(upstream: UpstreamConfig): boolean {
  if (upstream.kind === "block") return upstream.name !== "block" || upstream.how !== "reset";
  if (upstream.kind !== "direct" || upstream.name !== "direct") return true;
  const { source, mark, dscp } = upstream;
  return source !== null || upstream.interface !== null || mark !== 0 || dscp !== null;
}

/** What it is, without its name. */
export function describeUpstream(upstream: UpstreamConfig): string {
  switch (upstream.kind) {
    case "direct": {
      const { source, mark, dscp } = upstream;
      const options = [
        ...(source === null ? [] : [`source ${source}`]),
        ...(upstream.interface === null ? [] : [`by ${upstream.interface}`]),
        ...(mark === 0 ? [] : [`mark 0x${mark.toString(16)}`]),
        ...(dscp === null ? [] : [`DSCP ${dscp}`]),
      ];
      return ["direct", ...options].join(", ");
    }
    case "socks5":
    case "http": {
      const { kind, server, credentials } = upstream;
      const who = credentials === null ? "" : ` as ${JSON.stringify(credentials.username)}`;
      const what = kind === "socks5" && upstream.udp ? "TCP and UDP" : "TCP";
      return `${kind} ${formatServer(server)}${who}, ${what}`;
    }
    case "proxy-protocol": {
      const { version, server } = upstream;
      return `PROXY protocol version ${version} to ${
        server === null ? "the destination" : formatServer(server)
      }`;
    }
    case "block":
      return `block, ${upstream.how}`;
    case "chain":
      return `through ${upstream.hops.join(", then ")}`;
  }
}

/** What it is, without its name. */
export function describeGroup({ kind, members, check, liveFlows }: GroupConfig): string {
  const looked = check === null ? "not checked" : `checked every ${check.intervalMs / 1000} s`;
  return `${kind} of ${members.join(", ")}, ${looked}, live flows ${liveFlows === "keep" ? "kept" : "reset"}`;
}

function describeRule(rule: PolicyRuleConfig): string {
  const accounts = rule.uids.map((account) => "name" in account ? account.name : formatIdRange(account));
  const filters = [
    listed("to", [...rule.destinations, ...rule.destinationFiles.map((file) => `those in ${file}`)]),
    listed("to port", rule.destinationPorts.map(formatPortRange)),
    listed("from", [...rule.sources, ...rule.sourceFiles.map((file) => `those in ${file}`)]),
    listed("from port", rule.sourcePorts.map(formatPortRange)),
    listed("in by", rule.interfaces),
    listed("of user", accounts),
    listed("with DSCP", rule.dscp.map(String)),
  ].filter((text) => text !== "");
  return [rule.network ?? "tcp and udp", ...filters].join(" ");
}

const MOST_SHOWN = 4;

function listed(word: string, values: readonly string[]): string {
  if (values.length === 0) return "";
  const shown = values.slice(0, MOST_SHOWN).join(", ");
  return `${word} ${shown}${values.length > MOST_SHOWN ? ` and ${values.length - MOST_SHOWN} more` : ""}`;
}

function formatServer({ host, port }: ServerConfig): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
