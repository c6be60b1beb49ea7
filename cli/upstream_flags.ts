/**
 * The flags that say where intercepted traffic goes: a configuration file, and one upstream without one.
 *
 * @module
 */
import {
  BUILT_IN_UPSTREAMS,
  type ConfigIssue,
  type CredentialsConfig,
  DIRECT_POLICY,
  type RoutingConfig,
  type ServerConfig,
  UPSTREAM_TIMEOUT_MS,
  type UpstreamConfig,
} from "../config/mod.ts";
import { readServer } from "../config/network_value.ts";
import { type Flag, type FlagValues, under, Unreadable } from "./flag.ts";

/** Holds the password of `--upstream`, whose flags every user of the host can see. */
const PASSWORD_VARIABLE = "PELLUCID_UPSTREAM_PASSWORD";
/** Of the upstream that `--upstream` describes. */
const FLAG_UPSTREAM = "command-line";
const WANTED =
  "socks5://[USER@]HOST:PORT, http://[USER@]HOST:PORT, or the name of one in the configuration file";

/** A server as `--upstream` names it, or the name of an upstream or group. */
type UpstreamChoice =
  | { readonly name: string }
  | {
    readonly kind: "socks5" | "http";
    readonly server: ServerConfig;
    readonly username: string | undefined;
    readonly password: string | undefined;
  };

const upstream: Flag<UpstreamChoice | undefined> = {
  shape: "single",
  placeholder: "URL",
  help: `what no rule of the file is about leaves by this upstream: ${WANTED}; the password is read from ` +
    `${PASSWORD_VARIABLE} or --upstream-password-file`,
  fallback: undefined,
  fallbackText: "direct",
  read: ([text]) => readChoice(text!),
};

/** Where traffic goes. */
export const UPSTREAM_FLAGS = under("where it goes", {
  config: path("read all this from a TOML file (docs/configuration.md); flags override it"),
  upstream,
  "upstream-password-file": path("file that holds the password of --upstream alone"),
  policy: path(
    "TypeScript module whose default export decides for each new flow, before the rules (docs/embedding.md)",
  ),
});

/** What they are read as. */
export type UpstreamValues = FlagValues<typeof UPSTREAM_FLAGS> & {
  /** What the configuration file says. */
  readonly routing?: RoutingConfig;
};

/** Where the flags and the file send traffic. */
export function routingConfig(values: UpstreamValues): RoutingConfig {
  const routing = withModule(
    values.routing ?? { upstreams: BUILT_IN_UPSTREAMS, groups: [], policy: DIRECT_POLICY },
    values.policy,
  );
  const chosen = values.upstream;
  if (chosen === undefined) return routing;
  if ("name" in chosen) return { ...routing, policy: { ...routing.policy, otherwise: chosen.name } };
  const { kind, server } = chosen;
  const common = {
    name: FLAG_UPSTREAM,
    server,
    credentials: credentials(values),
    timeoutMs: UPSTREAM_TIMEOUT_MS,
  };
  const made: UpstreamConfig = kind === "http"
    ? { kind, ...common }
    : { kind, ...common, pipeline: true, udp: true };
  return {
    ...routing,
    upstreams: [...routing.upstreams, made],
    policy: { ...routing.policy, otherwise: FLAG_UPSTREAM },
  };
}

/** Paths are relative to where the command runs, the file's by way of the file's own. */
function withModule(routing: RoutingConfig, given: string | undefined): RoutingConfig {
  const module = given ?? routing.policy.module;
  if (module === undefined) return routing;
  const isWhole = module.startsWith("/") || URL.canParse(module);
  return { ...routing, policy: { ...routing.policy, module: isWhole ? module : `${Deno.cwd()}/${module}` } };
}

function credentials(values: UpstreamValues): CredentialsConfig | null {
  const { upstream, "upstream-password-file": file } = values;
  if (upstream === undefined || "name" in upstream || upstream.username === undefined) return null;
  const { username, password } = upstream;
  if (file !== undefined) return { username, password: { kind: "file", path: file } };
  if (password !== undefined) return { username, password: { kind: "text", text: password } };
  return { username, password: { kind: "env", name: PASSWORD_VARIABLE } };
}

/** What makes no sense about the flags. */
export function* checkUpstreamFlags(values: UpstreamValues): Generator<ConfigIssue> {
  const { upstream, "upstream-password-file": file } = values;
  if (file === undefined) return;
  if (upstream === undefined || "name" in upstream || upstream.username === undefined) {
    yield {
      path: "--upstream-password-file",
      found: upstream === undefined ? "set, and no --upstream" : "set, and no user in --upstream",
      wanted: "--upstream with USER@ before the host",
    };
  } else if (upstream.password !== undefined) {
    yield {
      path: "--upstream, --upstream-password-file",
      found: "a password in both",
      wanted: "it in the file alone",
    };
  }
}

/** An issue of what `--upstream` alone has said, by the name of the flag. */
export function byUpstreamFlag(issue: ConfigIssue): ConfigIssue {
  const isOurs = issue.path === "policy.default" || issue.path.startsWith(`upstream.${FLAG_UPSTREAM}`);
  return isOurs ? { ...issue, path: "--upstream" } : issue;
}

/** What is not wrong and should be known. */
export function* warnAboutUpstream({ upstream }: UpstreamValues): Generator<string> {
  if (upstream === undefined || "name" in upstream || upstream.password === undefined) return;
  yield "--upstream: a password in the command line, where every user of this host can read it; " +
    `${PASSWORD_VARIABLE} or --upstream-password-file keep it to themselves`;
}

/** What is found is never shown with what stands before an @. */
function readChoice(text: string): UpstreamChoice | Unreadable {
  if (/^[A-Za-z0-9_-]{1,63}$/.test(text)) return { name: text };
  const match = /^(socks5h?|http):\/\/(?:([^:@/]+)(?::([^@/]*))?@)?([^@/]+)\/?$/.exec(text);
  const server = match === null ? undefined : readServer(match[4]!);
  if (match === null || server === undefined) {
    return new Unreadable(text.replace(/^(.*:\/\/)?.*@/s, "$1…@"), WANTED);
  }
  try {
    return {
      // Names are not ours to resolve either way: the destination of intercepted traffic is an address.
      kind: match[1] === "http" ? "http" : "socks5",
      server,
      username: match[2] === undefined ? undefined : decodeURIComponent(match[2]),
      password: match[3] === undefined ? undefined : decodeURIComponent(match[3]),
    };
  } catch {
    return new Unreadable("% without two digits after it", "%25 where a name or a password has a %");
  }
}

function path(help: string): Flag<string | undefined> {
  return {
    shape: "single",
    placeholder: "FILE",
    help,
    fallback: undefined,
    fallbackText: "",
    read: ([text]) => text!,
  };
}
