/**
 * What each kind of upstream can carry and what it can be part of.
 *
 * @module
 */
import type { GroupConfig, UpstreamConfig } from "./upstream_config.ts";

/** Upstreams and groups by name. */
export class Routes {
  readonly #routes: ReadonlyMap<string, UpstreamConfig | GroupConfig>;

  constructor(upstreams: readonly UpstreamConfig[], groups: readonly GroupConfig[]) {
    // Of two with one name the first has it.
    this.#routes = new Map([...groups, ...upstreams.toReversed()].map((route) => [route.name, route]));
  }

  /** Those there are, in the order of the alphabet. */
  get names(): string[] {
    return [...this.#routes.keys()].sort();
  }

  /** undefined when there is none of that name. */
  get(name: string): UpstreamConfig | GroupConfig | undefined {
    return this.#routes.get(name);
  }

  /** Which upstream of those that `name` stands for carries no UDP; undefined: it carries UDP, or is unknown. */
  withoutUdp(name: string): UpstreamConfig | undefined {
    const route = this.#routes.get(name);
    if (route === undefined) return undefined;
    if (!isGroup(route)) return carriesUdp(route) ? undefined : route;
    for (const member of route.members) {
      const found = this.#routes.get(member);
      if (found !== undefined && !isGroup(found) && !carriesUdp(found)) return found;
    }
    return undefined;
  }
}

/** Whether it is several upstreams by one name. */
export function isGroup(route: UpstreamConfig | GroupConfig): route is GroupConfig {
  return "members" in route;
}

function carriesUdp(upstream: UpstreamConfig): boolean {
  switch (upstream.kind) {
    case "direct":
    case "block":
      return true;
    case "socks5":
      return upstream.udp;
    case "proxy-protocol":
      return upstream.version === 2;
    case "http":
    case "chain":
      return false;
  }
}

/** For example `an HTTP proxy, which carries TCP alone`. */
export function describeWithoutUdp(upstream: UpstreamConfig): string {
  switch (upstream.kind) {
    case "http":
      return "an HTTP proxy, which carries TCP alone";
    case "chain":
      return "a chain, which carries TCP alone";
    case "proxy-protocol":
      return "PROXY protocol version 1, which is for TCP alone";
    default:
      return "a SOCKS5 server that is not to carry UDP";
  }
}
