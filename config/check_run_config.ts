/**
 * Whether a configuration makes sense: ranges, and settings that contradict each other.
 *
 * Only what the configuration itself says is looked at; whether the host can do it is for the control plane's
 * preflight. Paths are flags, since flags are the one way to write a configuration so far.
 *
 * @module
 */
import { containsPort, formatEndpoint, formatPortRange } from "../net/mod.ts";
import { checkInterception } from "./check_interception.ts";
import { checkTimeout, checkWhole } from "./check_value.ts";
import type { ConfigIssue } from "./config_error.ts";
import { defaultRunConfig, type RunConfig } from "./run_config.ts";

/** RFC 4787, REQ-5: no mapping may expire earlier. */
const SHORTEST_UDP_MS = 120_000;
/** MAX_TCP_KEEPIDLE of linux/tcp.h. */
const MOST_KEEPALIVE_S = 32_767;
const DNS_PORT = 53;
/** Nobody would wait for the last of more. */
const MOST_RESOLVERS = 8;

/** Every issue, in the order of the flags in the help; empty when there is none. */
export function checkRunConfig(config: RunConfig): ConfigIssue[] {
  return [
    ...checkInterception(config, true),
    ...checkWithoutUdp(config),
    ...checkWhole("--max-connections", config.maxConnections ?? 1, 1, 4_000_000),
    ...checkWhole("--max-connections-per-client", config.maxConnectionsPerClient, 0, 4_000_000),
    ...checkWhole("--max-sessions", config.maxSessions ?? 1, 1, 4_000_000),
    ...checkWhole("--max-sessions-per-client", config.maxSessionsPerClient ?? 0, 0, 4_000_000),
    ...checkTimeout("--connect-timeout", config.connectTimeoutMs, 1),
    ...checkTimeout("--idle-timeout", config.idleTimeoutMs, 0),
    ...checkTimeout("--half-closed-timeout", config.halfClosedTimeoutMs, 0),
    ...checkWhole("--keepalive", config.keepaliveMs / 1000, 0, MOST_KEEPALIVE_S),
    ...checkTimeout("--user-timeout", config.userTimeoutMs, 0),
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

/** Who sets something for UDP wants UDP; `--dns` says so itself. */
function* checkWithoutUdp(config: RunConfig): Generator<ConfigIssue> {
  if (config.udp !== "off") return;
  const { udpFilter, udpTimeoutMs, udpRefreshInbound } = defaultRunConfig();
  const set = {
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

function* checkDns(config: RunConfig): Generator<ConfigIssue> {
  const { dns, sidecar } = config;
  yield* sidecar === null ? checkDnsTaken(config) : checkDnsCaptured(dns.length > 0, sidecar.dns !== null);
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

/** Resolvers answer what is taken on its way to port 53, so that has to be taken. */
function* checkDnsTaken({ udp, select, dns }: RunConfig): Generator<ConfigIssue> {
  if (dns.length === 0) return;
  const { include, exclude } = select.udpPorts;
  if (udp === "off") {
    yield {
      path: "--dns, --udp",
      found: "resolvers and off",
      wanted: "--udp tproxy",
      hint: "DNS is asked over UDP first",
    };
  } else if (include.length > 0 && !containsPort(include, DNS_PORT)) {
    yield {
      path: "--dns, --udp-ports",
      found: include.map(formatPortRange).join(),
      wanted: `port ${DNS_PORT} among them`,
      hint: "--dns answers what is sent to that port",
    };
  } else if (containsPort(exclude, DNS_PORT)) {
    yield {
      path: "--dns, --exclude-udp-ports",
      found: exclude.map(formatPortRange).join(),
      wanted: `without port ${DNS_PORT}`,
      hint: "--dns answers what is sent to that port",
    };
  }
}

/** A sidecar's queries come to listeners of their own, which have nothing but the resolvers to answer from. */
function* checkDnsCaptured(hasResolvers: boolean, captures: boolean): Generator<ConfigIssue> {
  if (hasResolvers === captures) return;
  yield {
    path: "--capture-dns, --dns",
    found: captures ? "queries taken, and no resolver" : "resolvers, and no queries taken",
    wanted: "both or neither",
    hint: "--capture-dns says whose queries are taken, --dns ADDR who answers them",
  };
}
