/**
 * Whether upstreams and groups make sense: each by itself, and what they say of one another.
 *
 * Paths are the keys of the configuration file, since there are no flags for them.
 *
 * @module
 */
import { parseAddress } from "../net/mod.ts";
import { checkTimeout, checkWhole } from "./check_value.ts";
import type { ConfigIssue } from "./config_error.ts";
import { isInterfaceName } from "./interface_pattern.ts";
import { nearest } from "./nearest.ts";
import type { RunConfig } from "./run_config.ts";
import type {
  ChainConfig,
  CredentialsConfig,
  DirectConfig,
  GroupConfig,
  HealthCheckConfig,
  SecretConfig,
  ServerConfig,
  UpstreamConfig,
} from "./upstream_config.ts";
import { isGroup, type Routes } from "./upstream_kinds.ts";

/** A route's number is one byte, of which the last means "none". */
const MOST_ROUTES = 254;
/** Each hop is one more round trip, and one more server that has to work. */
const MOST_HOPS = 8;
/** RFC 1929: the length of either is one byte, and neither may be empty. */
const SOCKS_TEXT_BYTES = 255;
/** One header line that every server takes. */
const HTTP_TEXT_BYTES = 1024;

/** Every issue. `routes` are the same upstreams and groups. */
export function* checkUpstreams(config: RunConfig, routes: Routes): Generator<ConfigIssue> {
  const { upstreams, groups } = config;
  yield* checkNames(upstreams, groups);
  for (const upstream of upstreams) {
    const path = `upstream.${upstream.name}`;
    switch (upstream.kind) {
      case "direct":
        yield* checkDirect(path, upstream, config);
        break;
      case "socks5":
      case "http":
        yield* checkServer(`${path}.server`, upstream.server);
        yield* checkTimeout(`${path}.timeout`, upstream.timeoutMs, 1);
        if (upstream.credentials !== null) yield* checkCredentials(path, upstream.kind, upstream.credentials);
        break;
      case "proxy-protocol":
        if (upstream.server !== null) yield* checkServer(`${path}.server`, upstream.server);
        yield* checkTimeout(`${path}.timeout`, upstream.timeoutMs, 1);
        break;
      case "chain":
        yield* checkChain(path, upstream, routes);
        break;
    }
  }
  for (const group of groups) yield* checkGroup(`group.${group.name}`, group, routes);
}

/** What is wrong when no upstream and no group is called `name`. */
export function unknownRoute(path: string, name: string, routes: Routes): ConfigIssue {
  const meant = nearest(name, routes.names);
  return {
    path,
    found: JSON.stringify(name),
    wanted: `the name of an upstream or a group (there are ${routes.names.join(", ")})`,
    ...(meant === undefined ? {} : { hint: `did you mean ${JSON.stringify(meant)}?` }),
  };
}

function* checkNames(
  upstreams: readonly UpstreamConfig[],
  groups: readonly GroupConfig[],
): Generator<ConfigIssue> {
  const count = upstreams.length + groups.length;
  if (count > MOST_ROUTES) {
    yield { path: "upstream, group", found: `${count} of them`, wanted: `at most ${MOST_ROUTES}` };
  }
  const seen = new Set<string>();
  for (const route of [...upstreams, ...groups]) {
    const path = `${isGroup(route) ? "group" : "upstream"}.${route.name}`;
    if (!/^[A-Za-z0-9_-]{1,63}$/.test(route.name)) {
      yield {
        path: isGroup(route) ? "group" : "upstream",
        found: JSON.stringify(route.name),
        wanted: "a name of 1 to 63 letters, digits, - and _",
      };
    } else if (seen.has(route.name)) {
      yield {
        path,
        found: `${JSON.stringify(route.name)} twice`,
        wanted: "each name once among upstreams and groups",
      };
    } else if ((route.name === "direct" || route.name === "block") && route.kind !== route.name) {
      yield {
        path,
        found: `kind ${JSON.stringify(route.kind)}`,
        wanted: `kind ${JSON.stringify(route.name)}, or another name`,
        hint: "that name is always there, and everybody takes it for what it says",
      };
    }
    seen.add(route.name);
  }
}

function* checkDirect(path: string, upstream: DirectConfig, { sidecar }: RunConfig): Generator<ConfigIssue> {
  const { source, mark, dscp } = upstream;
  if (source === "keep" && sidecar !== null && sidecar.inbound !== "tproxy") {
    yield {
      path: `${path}.source`,
      found: '"keep", in a sidecar',
      wanted: '"own", or --inbound tproxy',
      hint: "only TPROXY leaves a way for the pod's answers to a client's address",
    };
  }
  if (upstream.interface !== null && !isInterfaceName(upstream.interface)) {
    yield {
      path: `${path}.interface`,
      found: JSON.stringify(upstream.interface),
      wanted: "the name of one interface (1 to 15 characters)",
    };
  }
  yield* checkWhole(`${path}.mark`, mark, 0, 0xffff_ffff);
  if (dscp !== null) yield* checkWhole(`${path}.dscp`, dscp, 0, 63);
}

function* checkServer(path: string, { host, port }: ServerConfig): Generator<ConfigIssue> {
  const address = parseAddress(host);
  const isAny = address?.text === "0.0.0.0" || address?.text === "::";
  if (isAny || (address === undefined && !isHostName(host))) {
    yield { path, found: JSON.stringify(host), wanted: "the address or the name of a server" };
  }
  yield* checkWhole(path, port, 1, 65_535);
}

/** RFC 1123, section 2.1, and underscores, which names inside a company may have. Digits alone are no name. */
function isHostName(host: string): boolean {
  const name = host.endsWith(".") ? host.slice(0, -1) : host;
  const labels = name.split(".");
  return name.length <= 253 && !/^\d+$/.test(labels.at(-1)!) &&
    labels.every((label) => /^[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$/.test(label));
}

function* checkCredentials(
  path: string,
  kind: "socks5" | "http",
  { username, password }: CredentialsConfig,
): Generator<ConfigIssue> {
  const most = kind === "socks5" ? SOCKS_TEXT_BYTES : HTTP_TEXT_BYTES;
  const bytes = byteLength(username);
  if (bytes < 1 || bytes > most) {
    yield { path: `${path}.username`, found: `${bytes} bytes`, wanted: `1 to ${most} bytes` };
  } else if (kind === "http" && username.includes(":")) {
    yield {
      path: `${path}.username`,
      // What comes after it may be a password.
      found: "a colon",
      wanted: "a name without one",
      hint: "Basic authentication ends the name there (RFC 7617)",
    };
  } else if (/\p{Cc}/u.test(username)) {
    yield { path: `${path}.username`, found: "a control character", wanted: "none" };
  }
  yield* checkSecret(path, kind, password);
}

function* checkSecret(path: string, kind: "socks5" | "http", secret: SecretConfig): Generator<ConfigIssue> {
  switch (secret.kind) {
    case "text": {
      const wrong = secretProblem(kind, secret.text);
      if (wrong !== undefined) yield { path: `${path}.password`, ...wrong };
      break;
    }
    case "file":
      if (secret.path === "") yield { path: `${path}.password-file`, found: '""', wanted: "a path" };
      break;
    case "env":
      if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(secret.name)) {
        yield {
          path: `${path}.password-env`,
          // It may be the password itself.
          found: "something else (it is not shown)",
          wanted: "the name of a variable of the environment",
        };
      }
  }
}

/** What keeps a text from being a password there, wherever it was read. Says nothing of the text but its length. */
export function secretProblem(
  kind: "socks5" | "http",
  text: string,
): { readonly found: string; readonly wanted: string } | undefined {
  const bytes = byteLength(text);
  const [least, most] = kind === "socks5" ? [1, SOCKS_TEXT_BYTES] : [0, HTTP_TEXT_BYTES];
  if (bytes < least || bytes > most) return { found: `${bytes} bytes`, wanted: `${least} to ${most} bytes` };
  if (/\p{Cc}/u.test(text)) return { found: "a control character", wanted: "none" };
  return undefined;
}

function byteLength(text: string): number {
  return new TextEncoder().encode(text).length;
}

function* checkChain(path: string, { name, hops }: ChainConfig, routes: Routes): Generator<ConfigIssue> {
  path = `${path}.hops`;
  if (hops.length < 2 || hops.length > MOST_HOPS) {
    yield { path, found: `${hops.length}`, wanted: `2 to ${MOST_HOPS} upstreams` };
  }
  for (const [i, hop] of hops.entries()) {
    const route = routes.get(hop);
    const found = JSON.stringify(hop);
    if (hop === name) yield { path, found: `${found}, the chain itself`, wanted: "other upstreams" };
    else if (route === undefined) yield unknownRoute(path, hop, routes);
    else if (hops.indexOf(hop) < i) yield { path, found: `${found} twice`, wanted: "each upstream once" };
    else if (isGroup(route)) {
      yield { path, found: `${found}, a group`, wanted: "upstreams of kind socks5 or http" };
    } else if (route.kind === "proxy-protocol" && i < hops.length - 1) {
      yield { path, found: `${found}, of kind proxy-protocol`, wanted: "it at the end of the chain" };
    } else if (route.kind !== "socks5" && route.kind !== "http" && route.kind !== "proxy-protocol") {
      yield {
        path,
        found: `${found}, of kind ${route.kind}`,
        wanted: "upstreams of kind socks5 or http, and at the end proxy-protocol",
      };
    }
  }
}

function* checkGroup(
  path: string,
  { name, members, check }: GroupConfig,
  routes: Routes,
): Generator<ConfigIssue> {
  const at = `${path}.members`;
  if (members.length === 0) yield { path: at, found: "none", wanted: "at least one upstream" };
  for (const [i, member] of members.entries()) {
    const route = routes.get(member);
    const found = JSON.stringify(member);
    if (member === name) yield { path: at, found: `${found}, the group itself`, wanted: "upstreams" };
    else if (route === undefined) yield unknownRoute(at, member, routes);
    else if (members.indexOf(member) < i) {
      yield { path: at, found: `${found} twice`, wanted: "each member once" };
    } else if (isGroup(route)) {
      yield { path: at, found: `${found}, a group`, wanted: "upstreams: groups have no groups in them" };
    } else if (route.kind === "block") {
      yield {
        path: at,
        found: `${found}, of kind block`,
        wanted: "upstreams that lead somewhere",
        hint: "when no member works, flows are refused anyway",
      };
    }
  }
  if (check === null) return;
  yield* checkHealthCheck(`${path}.check`, check);
  const unable = members.find((member) => leadsToDestination(routes.get(member)));
  if (check.target !== null && unable !== undefined && parseAddress(check.target.host) === undefined) {
    yield {
      path: `${path}.check.target`,
      found: `${JSON.stringify(check.target.host)}, a name`,
      wanted: `an address, since ${unable} has no server that could resolve it`,
    };
  }
}

/** Whether there is no server on the way, which could be asked for a name. */
function leadsToDestination(route: ReturnType<Routes["get"]>): boolean {
  return route?.kind === "direct" || route?.kind === "proxy-protocol" && route.server === null;
}

function* checkHealthCheck(path: string, check: HealthCheckConfig): Generator<ConfigIssue> {
  if (check.target !== null) yield* checkServer(`${path}.target`, check.target);
  yield* checkTimeout(`${path}.interval`, check.intervalMs, 100);
  yield* checkTimeout(`${path}.timeout`, check.timeoutMs, 1);
  if (check.timeoutMs > check.intervalMs) {
    yield {
      path: `${path}.timeout`,
      found: `${check.timeoutMs / 1000} seconds`,
      wanted: `no more than the ${check.intervalMs / 1000} seconds between checks`,
    };
  }
  yield* checkWhole(`${path}.rise`, check.rise, 1, 1000);
  yield* checkWhole(`${path}.fall`, check.fall, 1, 1000);
}
