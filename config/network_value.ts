/**
 * How values of the network are written, in flags and in files alike: ports, addresses, interfaces, users, marks.
 *
 * @module
 */
import {
  type Endpoint,
  type MarkMatch,
  parseAddress,
  parseEndpoint,
  parseIdRange,
  parseMac,
  parseMarkMatch,
  parsePortRange,
  parsePrefix,
  type PortRange,
  unmapV4,
} from "../net/mod.ts";
import type { Account } from "./selector_config.ts";
import type { ServerConfig } from "./upstream_config.ts";

/** How one of several values is read. */
export interface ListKind<T> {
  /** Stands for it in the help. */
  readonly placeholder: string;
  /** What would have been read. */
  readonly wanted: string;
  /** @returns undefined when `text` is none. */
  readonly read: (text: string) => T | undefined;
}

/** Ports and ranges of ports. */
export const PORTS: ListKind<PortRange> = {
  placeholder: "PORTS",
  wanted: "ports from 1 to 65535 such as 53,1000-2000",
  read: parsePortRange,
};

/** Prefixes and addresses, in canonical form. */
export const PREFIXES: ListKind<string> = {
  placeholder: "CIDR",
  wanted: "a prefix such as 192.0.2.0/24 or 2001:db8::/32, or an address",
  read: (text) => parsePrefix(text)?.text,
};

/** Addresses, in canonical form. */
export const ADDRESSES: ListKind<string> = {
  placeholder: "ADDR",
  wanted: "an IP address",
  read: (text) => {
    const address = parseAddress(text);
    return address && unmapV4(address).text;
  },
};

/** Names of interfaces; whether they can be one is the configuration's business. */
export const INTERFACES: ListKind<string> = {
  placeholder: "IFACE",
  wanted: "interfaces such as eth1,br-*",
  read: (text) => text,
};

/** Ethernet addresses. */
export const MACS: ListKind<string> = {
  placeholder: "MAC",
  wanted: "an address of one network card such as 02:00:5e:10:00:01",
  read: parseMac,
};

/** Users, by number or name. */
export const USERS: ListKind<Account> = {
  placeholder: "USER",
  wanted: "a user's name, a number or a range such as 1000-1999",
  read: readAccount,
};

/** Groups, by number or name. */
export const GROUPS: ListKind<Account> = {
  placeholder: "GROUP",
  wanted: "a group's name, a number or a range such as 1000-1999",
  read: readAccount,
};

/** Paths of cgroups, as /proc/PID/cgroup has them or without the leading slash. */
export const CGROUPS: ListKind<string> = {
  placeholder: "PATH",
  wanted: "a path below the cgroup file system such as system.slice/ssh.service",
  read: (text) => text.replace(/^\//, ""),
};

/** Packet marks. */
export const MARKS: ListKind<MarkMatch> = {
  placeholder: "MARK[/MASK]",
  wanted: "a mark such as 0xca6c or 0x80000/0xff0000",
  read: parseMarkMatch,
};

/** Endpoints; `port` where only an address is given. */
export function endpoints(port: number): ListKind<Endpoint> {
  return {
    placeholder: "ADDR[:PORT]",
    wanted: "an IP address, ADDR:PORT, or [ADDR]:PORT for IPv6",
    read: (text) => {
      const address = parseAddress(text);
      const endpoint = address === undefined ? parseEndpoint(text) : { address, port };
      return endpoint && { address: unmapV4(endpoint.address), port: endpoint.port };
    },
  };
}

/** A name never begins with a digit, so that a range that cannot be read is not taken for one. */
function readAccount(text: string): Account | undefined {
  return parseIdRange(text) ?? (/^[A-Za-z_][^\s:]*$/.test(text) ? { name: text } : undefined);
}

/**
 * Reads `HOST:PORT`, an IPv6 address in brackets. Whether a name can be one is the configuration's business.
 *
 * @returns undefined when `text` is no server.
 */
export function readServer(text: string): ServerConfig | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:@[\]\s/]+)):([1-9]\d{0,4})$/.exec(text);
  if (match === null) return undefined;
  const port = Number(match[3]);
  const host = match[1] ?? match[2]!;
  const address = parseAddress(host);
  if (port > 65_535 || (match[1] !== undefined && address?.family !== 6)) return undefined;
  return { host: address === undefined ? host : unmapV4(address).text, port };
}
