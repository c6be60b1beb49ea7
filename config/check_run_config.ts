/**
 * Whether a configuration makes sense: ranges, and settings that contradict each other.
 *
 * Only what the configuration itself says is looked at; whether the host can do it is for the control plane's
 * preflight. Paths are flags, since flags are the one way to write a configuration so far.
 *
 * @module
 */
import { containsPort, formatEndpoint, formatPortRange, parsePortRange } from "../net/mod.ts";
import type { ConfigIssue } from "./config_error.ts";
import { defaultRunConfig, type RunConfig } from "./run_config.ts";

/** A week: longer waits are better said as 0 (never), and setTimeout ends at 24 days. */
const LONGEST_MS = 7 * 24 * 3600 * 1000;
/** RFC 4787, REQ-5: no mapping may expire earlier. */
const SHORTEST_UDP_MS = 120_000;
const DNS_PORT = 53;
/** Nobody would wait for the last of more. */
const MOST_RESOLVERS = 8;

/** Every issue, in the order of the flags in the help; empty when there is none. */
export function checkRunConfig(config: RunConfig): ConfigIssue[] {
  return [
    ...checkInterception(config),
    ...checkWithoutUdp(config),
    ...checkWhole("--port", config.port, 1, 65_535),
    ...checkWhole("--workers", config.workers, 1, 256),
    ...checkListenerPorts(config),
    ...checkWhole("--max-connections", config.maxConnections ?? 1, 1, 4_000_000),
    ...checkWhole("--max-connections-per-client", config.maxConnectionsPerClient, 0, 4_000_000),
    ...checkWhole("--max-sessions", config.maxSessions ?? 1, 1, 4_000_000),
    ...checkWhole("--max-sessions-per-client", config.maxSessionsPerClient ?? 0, 0, 4_000_000),
    ...checkTimeout("--connect-timeout", config.connectTimeoutMs, 1),
    ...checkTimeout("--idle-timeout", config.idleTimeoutMs, 0),
    ...checkTimeout("--half-closed-timeout", config.halfClosedTimeoutMs, 0),
    ...checkTimeout(
      "--udp-timeout",
      config.udpTimeoutMs,
      SHORTEST_UDP_MS,
      "RFC 4787 forbids shorter ones; sessions of DNS and NTP alone end after 10 s whatever is said here",
    ),
    ...checkDns(config),
    ...checkTimeout("--drain-timeout", config.drainTimeoutMs, 0),
  ];
}

function* checkInterception(config: RunConfig): Generator<ConfigIssue> {
  if (config.tcp === "off" && config.udp === "off") {
    yield {
      path: "--tcp, --udp",
      found: "off and off",
      wanted: "one of them on",
      hint: "without TCP and UDP there is nothing to intercept",
    };
  } else if (config.rules === "nft" && config.from.length === 0 && !config.local) {
    yield {
      path: "--from, --local",
      found: "neither",
      wanted: "at least one",
      hint:
        "--from IFACE intercepts what is forwarded from an interface, --local what this host opens itself; " +
        "with --rules none the rules are yours",
    };
  }
  for (const range of config.udpPorts) {
    const text = formatPortRange(range);
    if (parsePortRange(text) === undefined) {
      yield { path: "--udp-ports", found: text, wanted: "ports from 1 to 65535, the lower one first" };
    }
  }
  const seen = new Set<string>();
  for (const name of config.from) {
    if (!isInterfaceName(name)) {
      yield { path: "--from", found: JSON.stringify(name), wanted: "an interface name (1 to 15 characters)" };
    } else if (name === "lo") {
      yield {
        path: "--from",
        found: "lo",
        wanted: "another interface",
        hint: "--local intercepts this host's own",
      };
    } else if (seen.has(name)) {
      yield { path: "--from", found: `${name} twice`, wanted: "each interface once" };
    }
    seen.add(name);
  }
}

/** Who sets something for UDP wants UDP; `--dns` says so itself. */
function* checkWithoutUdp(config: RunConfig): Generator<ConfigIssue> {
  if (config.udp !== "off") return;
  const { udpFilter, udpTimeoutMs, udpRefreshInbound } = defaultRunConfig();
  const set = {
    "--udp-ports": config.udpPorts.length > 0,
    "--max-sessions": config.maxSessions !== undefined,
    "--max-sessions-per-client": config.maxSessionsPerClient !== undefined,
    "--udp-filter": config.udpFilter !== udpFilter,
    "--udp-timeout": config.udpTimeoutMs !== udpTimeoutMs,
    "--udp-refresh-inbound": config.udpRefreshInbound !== udpRefreshInbound,
  };
  for (const [path, isSet] of Object.entries(set)) {
    if (isSet) yield { path, found: "set, and --udp off", wanted: "one or the other" };
  }
}

/**
 * The kernel's dev_valid_name(): 1 to 15 bytes, no slash, colon or white space, not "." or ".."; and none of the
 * characters that nft cannot quote or would expand.
 */
function isInterfaceName(name: string): boolean {
  return /^[^\s/:"*\\]+$/.test(name) && name !== "." && name !== ".." &&
    new TextEncoder().encode(name).length <= 15;
}

/** Each worker receives datagrams on a port of its own, since a client's must all reach the same one. */
function* checkListenerPorts({ udp, port, workers }: RunConfig): Generator<ConfigIssue> {
  // What is wrong with either number by itself has been said.
  const last = port + workers - 1;
  if (udp === "off" || port > 65_535 || workers > 256 || !(last > 65_535)) return;
  yield {
    path: "--port, --workers",
    found: `${port} and ${workers}`,
    wanted: `a port up to ${65_535 - workers + 1}`,
    hint: "UDP takes one port for each worker, counted from --port",
  };
}

function* checkDns({ udp, udpPorts, dns }: RunConfig): Generator<ConfigIssue> {
  if (dns.length === 0) return;
  if (udp === "off") {
    yield {
      path: "--dns, --udp",
      found: "resolvers and off",
      wanted: "--udp tproxy",
      hint: "DNS is asked over UDP first",
    };
  } else if (udpPorts.length > 0 && !containsPort(udpPorts, DNS_PORT)) {
    yield {
      path: "--dns, --udp-ports",
      found: udpPorts.map(formatPortRange).join(),
      wanted: `port ${DNS_PORT} among them`,
      hint: "--dns answers what is sent to that port",
    };
  }
  if (dns.length > MOST_RESOLVERS) {
    yield { path: "--dns", found: `${dns.length} resolvers`, wanted: `at most ${MOST_RESOLVERS}` };
  }
  const seen = new Set<string>();
  for (const resolver of dns) {
    const text = formatEndpoint(resolver);
    if (resolver.port === 0 || resolver.address.text === "0.0.0.0" || resolver.address.text === "::") {
      yield { path: "--dns", found: text, wanted: "an address and a port that can be written to" };
    } else if (seen.has(text)) {
      yield { path: "--dns", found: `${text} twice`, wanted: "each resolver once" };
    }
    seen.add(text);
  }
}

function* checkWhole(path: string, value: number, least: number, most: number): Generator<ConfigIssue> {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  yield { path, found: String(value), wanted: `a whole number from ${least} to ${most}` };
}

function* checkTimeout(path: string, ms: number, leastMs: number, hint?: string): Generator<ConfigIssue> {
  if (ms >= leastMs && ms <= LONGEST_MS) return;
  const range = `${leastMs / 1000} to ${LONGEST_MS / 1000} seconds`;
  yield { path, found: `${ms / 1000}`, wanted: range, ...(hint === undefined ? {} : { hint }) };
}
