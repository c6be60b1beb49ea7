/**
 * Which destinations a host takes for itself or for many: the kernel's address types local, broadcast, multicast
 * and anycast, from the host's own addresses.
 *
 * @module
 */
import {
  addressBytes,
  addressFromBytes,
  type IpAddress,
  type IpFamily,
  parseAddress,
} from "../net/address.ts";
import { parsePrefix, prefixContains, prefixOf } from "../net/prefix.ts";
import type { PacketHost } from "./packet.ts";

/** What `fib daddr type` and addrtype call so on any host: fib_types of `this network`, and lo's addresses. */
const ALWAYS = ["0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4", "255.255.255.255/32", "::1/128", "ff00::/8"]
  .map((text) => parsePrefix(text)!);

/** A host's addresses, ready to be asked. */
export class LocalAddresses {
  readonly #here = new Set<string>();
  readonly #own: IpAddress[] = [];

  /** @throws {RangeError} when an address of the host is none. */
  constructor({ addresses, forwards }: PacketHost) {
    for (const text of addresses) {
      const address = parseAddress(text.replace(/\/.*$/, ""));
      const network = parsePrefix(text);
      if (address === undefined || network === undefined) throw new RangeError(`address: "${text}" is none`);
      this.#own.push(address);
      this.#here.add(address.text);
      const networkAddress = network.text.slice(0, network.text.indexOf("/"));
      // RFC 3021: a network of two addresses has no broadcast address.
      if (address.family === 4 && network.length < 31) this.#here.add(lastOf(address, network.length));
      // RFC 6164, as the kernel has it: nor do such IPv6 networks have an anycast one.
      if (address.family === 6 && network.length < 127 && forwards) this.#here.add(networkAddress);
    }
  }

  /** Whether the host would not send a packet for `address` on. */
  isHere(address: IpAddress): boolean {
    return this.#here.has(address.text) || ALWAYS.some((prefix) => prefixContains(prefix, address));
  }

  /** Where NAT sends what came in by an interface: an address of this host. */
  ownAddress(family: IpFamily): IpAddress {
    return this.#own.find((address) => address.family === family) ?? loopbackAddress(family);
  }
}

/** 127.0.0.1 or ::1. */
export function loopbackAddress(family: IpFamily): IpAddress {
  return { family, text: family === 4 ? "127.0.0.1" : "::1" };
}

function lastOf(address: IpAddress, length: number): string {
  const bytes = addressBytes({ family: 4, text: prefixOf(address, length).text.split("/")[0]! });
  for (let i = 0; i < 4; i++) bytes[i] = bytes[i]! | (0xff >> Math.min(8, Math.max(0, length - 8 * i)));
  return addressFromBytes(bytes).text;
}
