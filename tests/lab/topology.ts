/**
 * What a lab looks like, as data: hosts, the links between them, and the preset every test of the proxy uses.
 *
 * Knows nothing of processes or namespaces; setup_script.ts turns a topology into the commands that build it.
 *
 * @module
 */

/** One network namespace. */
export interface HostSpec {
  /** Addresses on `lo`: the host answers for them on every link, so clients can dial what no router on the way has. */
  readonly addresses?: readonly string[];
  /** Passes on packets of both families that are not for itself. */
  readonly forwarding?: boolean;
  readonly routes?: readonly RouteSpec[];
  /** Written last, before the links come up; keys as under /proc/sys, for example `net/ipv4/conf/default/rp_filter`. */
  readonly sysctls?: Readonly<Record<string, string>>;
}

/** A route over a gateway. `to` is a prefix, or `default` (of the family that `via` has). */
export interface RouteSpec {
  readonly to: string;
  readonly via: string;
}

/** One end of a veth pair. `addresses` carry their prefix length. */
export interface LinkEnd {
  readonly host: string;
  readonly interface: string;
  readonly addresses: readonly string[];
}

/** A veth pair between two hosts. */
export interface LinkSpec {
  readonly ends: readonly [LinkEnd, LinkEnd];
  /** Of both ends; the kernel's own value is 1500. */
  readonly mtu?: number;
}

/** A whole lab. */
export interface Topology {
  readonly hosts: Readonly<Record<string, HostSpec>>;
  readonly links: readonly LinkSpec[];
}

/** Where things are in {@linkcode gatewayTopology}. All addresses are from documentation and benchmark ranges. */
export const GATEWAY_LAB = {
  client: { v4: "192.0.2.2", v6: "2001:db8:1::2" },
  secondClient: { v4: "198.18.1.2", v6: "2001:db8:2::2" },
  gateway: { v4: "192.0.2.1", v6: "2001:db8:1::1", wanV4: "198.18.0.1", wanV6: "2001:db8:ffff::1" },
  /** Beyond the internet host, where the lab has one: see `farMtu`. */
  far: { v4: "198.18.2.2", v6: "2001:db8:3::2" },
  /** Held by the internet host on `lo`; the gateway has none of them. */
  servers: { v4: "198.51.100.10", v4b: "203.0.113.5", v6: "2001:db8:100::10", v6b: "2001:db8:113::5" },
  /** Routed to the internet host, which has no such address: give them to its `blackhole` or `unreachable`. */
  nowhere: { v4: "203.0.113.66", v6: "2001:db8:113::66" },
} as const;

/** What a test may vary in {@linkcode gatewayTopology}. */
export interface GatewayLabOptions {
  /** Adds host `client2` on a link of its own, `lan1` in the gateway. */
  readonly secondClient?: boolean;
  /** MTU of the link between client and gateway. */
  readonly clientMtu?: number;
  /** MTU of the link between gateway and internet host. */
  readonly wanMtu?: number;
  /** Adds host `far` behind the internet host, by a link with this MTU: one that the gateway does not have itself. */
  readonly farMtu?: number;
  /** For the gateway, before its links come up. */
  readonly gatewaySysctls?: Readonly<Record<string, string>>;
}

/**
 * client (eth0) – (lan0) gateway (wan0) – (eth0) internet, IPv4 and IPv6. The gateway forwards without NAT, so
 * the internet host sees who really dialled.
 */
export function gatewayTopology(options: GatewayLabOptions = {}): Topology {
  const { client, secondClient, gateway, servers } = GATEWAY_LAB;
  const hosts: Record<string, HostSpec> = {
    client: { routes: defaultRoutes(gateway.v4, gateway.v6) },
    gateway: {
      forwarding: true,
      routes: defaultRoutes("198.18.0.2", "2001:db8:ffff::2"),
      ...(options.gatewaySysctls === undefined ? {} : { sysctls: options.gatewaySysctls }),
    },
    internet: {
      addresses: Object.values(servers),
      // A host that does not forward answers nothing, not even "unreachable", for addresses it does not have.
      forwarding: true,
      // No default route: what is nowhere must end here, not go back and forth.
      routes: [
        { to: "192.0.2.0/24", via: gateway.wanV4 },
        { to: "198.18.1.0/24", via: gateway.wanV4 },
        { to: "2001:db8:1::/64", via: gateway.wanV6 },
        { to: "2001:db8:2::/64", via: gateway.wanV6 },
      ],
    },
  };
  const links: LinkSpec[] = [
    {
      ends: [
        { host: "client", interface: "eth0", addresses: [`${client.v4}/24`, `${client.v6}/64`] },
        { host: "gateway", interface: "lan0", addresses: [`${gateway.v4}/24`, `${gateway.v6}/64`] },
      ],
      ...(options.clientMtu === undefined ? {} : { mtu: options.clientMtu }),
    },
    {
      ends: [
        { host: "gateway", interface: "wan0", addresses: [`${gateway.wanV4}/24`, `${gateway.wanV6}/64`] },
        { host: "internet", interface: "eth0", addresses: ["198.18.0.2/24", "2001:db8:ffff::2/64"] },
      ],
      ...(options.wanMtu === undefined ? {} : { mtu: options.wanMtu }),
    },
  ];
  if (options.secondClient === true) {
    hosts["client2"] = { routes: defaultRoutes("198.18.1.1", "2001:db8:2::1") };
    links.push({
      ends: [
        { host: "client2", interface: "eth0", addresses: [`${secondClient.v4}/24`, `${secondClient.v6}/64`] },
        { host: "gateway", interface: "lan1", addresses: ["198.18.1.1/24", "2001:db8:2::1/64"] },
      ],
    });
  }
  if (options.farMtu !== undefined) {
    hosts["far"] = { routes: defaultRoutes("198.18.2.1", "2001:db8:3::1") };
    links.push({
      ends: [
        { host: "internet", interface: "eth1", addresses: ["198.18.2.1/24", "2001:db8:3::1/64"] },
        {
          host: "far",
          interface: "eth0",
          addresses: [`${GATEWAY_LAB.far.v4}/24`, `${GATEWAY_LAB.far.v6}/64`],
        },
      ],
      mtu: options.farMtu,
    });
  }
  return { hosts, links };
}

function defaultRoutes(v4: string, v6: string): RouteSpec[] {
  return [{ to: "default", via: v4 }, { to: "default", via: v6 }];
}
