/**
 * The flags of `run`.
 *
 * @module
 */
import {
  checkRunConfig,
  type ConfigIssue,
  defaultRunConfig,
  MAX_CONNECTIONS_UNASKED,
  MAX_SESSIONS_UNASKED,
  namesTraffic,
  type RulesMode,
  type RunConfig,
} from "../config/mod.ts";
import { choice, type FlagValues, seconds, toggle, under, whole } from "./flag.ts";
import { INTERCEPTION_FLAGS, interceptionConfig } from "./interception_flags.ts";
import { checkSidecarFlags } from "./sidecar_flags.ts";
import { checkUpstreamFlags } from "./upstream_flags.ts";

const defaults = defaultRunConfig();

/** Every flag of `run`. */
export const RUN_FLAGS = {
  ...INTERCEPTION_FLAGS,
  rules: choice<RulesMode, RulesMode>(
    ["auto", "nft", "iptables", "iptables-legacy", "none"],
    defaults.rules,
    "what manages rules; auto: what this host can do and already uses; none: you do, and they are printed",
  ),
  "dry-run": toggle("print the rules and routes and change nothing"),
  ...under("how it is carried", {
    "max-connections": whole(
      defaults.maxConnections,
      "most TCP connections at once",
      `${MAX_CONNECTIONS_UNASKED}, or what the limit of open files allows`,
    ),
    "max-connections-per-client": whole(
      defaults.maxConnectionsPerClient,
      "most TCP connections at once from one client address (IPv6: one /64); 0: no limit",
    ),
    "max-sessions": whole(
      defaults.maxSessions,
      "most UDP sessions (one for each client address and port) at once; at the limit the longest idle one ends",
      `${MAX_SESSIONS_UNASKED}, or what the limit of open files allows`,
    ),
    "max-sessions-per-client": whole(
      defaults.maxSessionsPerClient,
      "most UDP sessions at once from one client address (IPv6: one /64); 0: no limit",
      "a quarter of --max-sessions, at least 256",
    ),
    "connect-timeout": seconds(
      defaults.connectTimeoutMs,
      "how long a destination may take to answer a connection attempt",
    ),
    "idle-timeout": seconds(
      defaults.idleTimeoutMs,
      "end a connection that carries nothing for so long; 0: never",
    ),
    "half-closed-timeout": seconds(
      defaults.halfClosedTimeoutMs,
      "the same when one side has closed; 0: never",
    ),
    keepalive: seconds(
      defaults.keepaliveMs,
      "first keepalive probe after a connection's silence of so long; 0: no probes",
    ),
    "user-timeout": seconds(
      defaults.userTimeoutMs,
      "how long sent data may stay unacknowledged (TCP_USER_TIMEOUT), which also ends a connection whose reader " +
        "pauses for so long; 0: as the kernel has it",
    ),
    "udp-filter": choice(
      ["endpoint", "address", "address-port"],
      defaults.udpFilter,
      "whose datagrams reach a UDP client: anyone's (full cone), those of addresses it has written to, " +
        "or of addresses and ports",
    ),
    "udp-timeout": seconds(
      defaults.udpTimeoutMs,
      "end a UDP session whose client has sent nothing for so long; at least 120",
    ),
    "udp-refresh-inbound": toggle("datagrams to the client keep its session alive too"),
    "drain-timeout": seconds(
      defaults.drainTimeoutMs,
      "how long open connections and sessions are carried on when stopping",
    ),
  }),
  ...under("what is said about it", {
    log: choice(["text", "json"], defaults.log, "form of log lines on stderr"),
    "log-level": choice(["debug", "info", "warn", "error"], defaults.logLevel, "least severe line shown"),
    flows: toggle("log a line for each finished flow"),
  }),
};

/** What `run` is told. */
export type RunFlagValues = FlagValues<typeof RUN_FLAGS>;

/** The configuration that the flags describe. */
export function runConfig(values: RunFlagValues): RunConfig {
  return {
    ...interceptionConfig(values),
    maxConnections: values["max-connections"],
    maxConnectionsPerClient: values["max-connections-per-client"],
    maxSessions: values["max-sessions"],
    maxSessionsPerClient: values["max-sessions-per-client"],
    connectTimeoutMs: values["connect-timeout"],
    idleTimeoutMs: values["idle-timeout"],
    halfClosedTimeoutMs: values["half-closed-timeout"],
    keepaliveMs: values.keepalive,
    userTimeoutMs: values["user-timeout"],
    udpFilter: values["udp-filter"],
    udpTimeoutMs: values["udp-timeout"],
    udpRefreshInbound: values["udp-refresh-inbound"],
    drainTimeoutMs: values["drain-timeout"],
    log: values.log,
    logLevel: values["log-level"],
    flows: values.flows,
  };
}

/** What makes no sense about the flags. */
export function checkRun(values: RunFlagValues): ConfigIssue[] {
  const config = runConfig(values);
  const issues = [...checkRunConfig(config), ...checkSidecarFlags(values), ...checkUpstreamFlags(values)];
  // A run with foreign rules need not know what they intercept; to print them one must.
  if (values["dry-run"] && config.rules === "none" && !namesTraffic(config)) {
    issues.push({
      path: "--dry-run",
      found: "nothing to intercept",
      wanted: "--from IFACE, --local or --sidecar",
      hint: "otherwise there are no rules to print",
    });
  }
  return issues;
}
