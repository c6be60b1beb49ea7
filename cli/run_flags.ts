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
  type RunConfig,
} from "../config/mod.ts";
import { choice, type FlagValues, seconds, toggle, whole } from "./flag.ts";
import { INTERCEPTION_FLAGS, interceptionConfig } from "./interception_flags.ts";

const defaults = defaultRunConfig();

/** Every flag of `run`. */
export const RUN_FLAGS = {
  ...INTERCEPTION_FLAGS,
  workers: whole(defaults.workers, "data-plane threads", "number of CPUs, at most 4"),
  rules: choice(
    ["nft", "none"],
    defaults.rules,
    "who manages rules and routes: pellucid with nft, or you (none: they are printed)",
  ),
  "max-connections": whole(
    defaults.maxConnections,
    "most connections at once",
    `${MAX_CONNECTIONS_UNASKED}, or what the limit of open files allows`,
  ),
  "max-connections-per-client": whole(
    defaults.maxConnectionsPerClient,
    "most connections at once from one client address; 0: no limit",
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
  "drain-timeout": seconds(defaults.drainTimeoutMs, "how long open connections are carried on when stopping"),
  log: choice(["text", "json"], defaults.log, "form of log lines on stderr"),
  "log-level": choice(["debug", "info", "warn", "error"], defaults.logLevel, "least severe line shown"),
  flows: toggle("log a line for each finished flow"),
  "dry-run": toggle("print the rules and routes and change nothing"),
};

/** What `run` is told. */
export type RunFlagValues = FlagValues<typeof RUN_FLAGS>;

/** The configuration that the flags describe. */
export function runConfig(values: RunFlagValues): RunConfig {
  return {
    ...interceptionConfig(values),
    workers: values.workers,
    rules: values.rules,
    maxConnections: values["max-connections"],
    maxConnectionsPerClient: values["max-connections-per-client"],
    connectTimeoutMs: values["connect-timeout"],
    idleTimeoutMs: values["idle-timeout"],
    halfClosedTimeoutMs: values["half-closed-timeout"],
    drainTimeoutMs: values["drain-timeout"],
    log: values.log,
    logLevel: values["log-level"],
    flows: values.flows,
  };
}

/** What makes no sense about the flags. */
export function checkRun(values: RunFlagValues): ConfigIssue[] {
  const config = runConfig(values);
  const issues = checkRunConfig(config);
  // A run with foreign rules need not know what they intercept; to print them one must.
  if (values["dry-run"] && config.rules === "none" && config.from.length === 0 && !config.local) {
    issues.push({
      path: "--dry-run",
      found: "nothing to intercept",
      wanted: "--from IFACE or --local",
      hint: "otherwise there are no rules to print",
    });
  }
  return issues;
}
