/**
 * Makes the routes of a worker from what it has been told.
 *
 * @module
 */
import type { Dialogue } from "../ffi/mod.ts";
import type { DatagramUpstream, Route, StreamFailure } from "../flow/mod.ts";
import { HopStreams } from "./chain.ts";
import { DirectStreams } from "./direct.ts";
import type { UpstreamEnvironment } from "./environment.ts";
import { makeGroup, type Member } from "./group.ts";
import type { Hop } from "./hop.ts";
import { HttpHop } from "./http.ts";
import { ProxyProtocolDatagrams, ProxyProtocolHop } from "./proxy_protocol.ts";
import { textOfWay } from "./same_way.ts";
import type { UpstreamSettings } from "./settings.ts";
import { Socks5Hop } from "./socks5.ts";
import { Socks5Datagrams } from "./socks5_udp.ts";

/** All ways to leave of one configuration. */
export interface Upstreams {
  /** By their numbers. */
  readonly routes: readonly Route[];
  /** What stands behind them, by {@linkcode textOfWay}. */
  readonly members: ReadonlyMap<string, Member>;
  /** No new flow leaves by them: checks end. Flows that there are carry on. */
  close(): void;
}

/**
 * The routes of `settings`, each at its own index. Upstreams that a chain or a group names stand before it. Checks of
 * groups begin.
 *
 * @param before the ways so far. Those that there still are go on as they are, so that a client's datagrams find the
 * session that it has; the others are closed.
 * @throws {RangeError} where names or passwords do not fit the protocol, and for what cannot be a hop: settings have been
 * checked before.
 */
export function makeUpstreams(
  settings: readonly UpstreamSettings[],
  environment: UpstreamEnvironment,
  before?: Upstreams,
): Upstreams {
  const made = new Map<string, Member>();
  const members: Member[] = [];
  const routes = settings.map((each, id): Route => {
    const way = textOfWay(settings, id);
    const member = before?.members.get(way) ?? makeMember(environment, each, settings, members);
    made.set(way, member);
    members.push(member);
    if (each.kind === "block") return { kind: "block", id, name: each.name, how: each.how };
    if (each.kind === "direct") return { ...each, id };
    const { name, streams, datagrams, timeoutMs } = member;
    return { kind: "upstream", id, name, streams, datagrams, connectTimeoutMs: timeoutMs };
  });
  for (const [way, member] of before?.members ?? []) {
    if (!made.has(way)) member.close?.();
  }
  return { routes, members: made, close: () => members.forEach((member) => member.close?.()) };
}

/** Every kind is made one, so that members have the numbers of the settings; no group names a `block`. */
function makeMember(
  environment: UpstreamEnvironment,
  settings: UpstreamSettings,
  all: readonly UpstreamSettings[],
  members: readonly Member[],
): Member {
  const { name } = settings;
  switch (settings.kind) {
    case "direct": {
      const direct = new DirectStreams(environment, settings);
      return { name, streams: direct, datagrams: direct, timeoutMs: Infinity };
    }
    case "block":
      return { name, streams: { name, open: blocked }, datagrams: undefined, timeoutMs: 0 };
    case "chain": {
      const hops = settings.hops.map((index) => makeHop(environment, all[index]!));
      const streams = new HopStreams(environment, name, hops);
      return { name, streams, datagrams: undefined, timeoutMs: streams.timeoutMs, entry: hops[0]! };
    }
    case "socks5":
    case "http":
    case "proxy-protocol":
      return makeServer(environment, settings);
    case "failover":
    case "round-robin":
    case "least-latency":
      return makeGroup(environment, settings, settings.members.map((index) => members[index]!));
  }
}

type HopSettings = Extract<UpstreamSettings, { kind: "socks5" | "http" | "proxy-protocol" }>;

function makeServer(environment: UpstreamEnvironment, settings: HopSettings): Member {
  const { name, timeoutMs } = settings;
  const hop = makeHop(environment, settings);
  const streams = new HopStreams(environment, name, [hop]);
  const entry = hop.server === undefined ? undefined : hop;
  return { name, streams, datagrams: makeDatagrams(environment, settings, hop), timeoutMs, entry };
}

function makeDatagrams(
  environment: UpstreamEnvironment,
  settings: HopSettings,
  hop: Hop,
): DatagramUpstream | undefined {
  if (hop instanceof Socks5Hop && settings.kind === "socks5" && settings.udp) {
    return new Socks5Datagrams(environment, settings.name, hop);
  }
  if (settings.kind === "proxy-protocol" && settings.version === 2) {
    return new ProxyProtocolDatagrams(environment, settings);
  }
  return undefined;
}

function makeHop(environment: UpstreamEnvironment, settings: UpstreamSettings): Hop {
  switch (settings.kind) {
    case "socks5":
      return new Socks5Hop(environment, settings);
    case "http":
      return new HttpHop(environment, settings);
    case "proxy-protocol":
      return new ProxyProtocolHop(environment, settings);
    default:
      throw new RangeError(`hop ${settings.name}: ${settings.kind} found, a kind of server wanted`);
  }
}

// deno-lint-ignore require-yield
function* blocked(): Dialogue<StreamFailure> {
  return { fd: -1, end: { reason: "blocked", side: "proxy" }, atUpstream: false, detail: "blocked" };
}
