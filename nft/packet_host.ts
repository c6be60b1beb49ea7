/**
 * The host that rules are on, as evaluate.ts asks about it, read from the kernel.
 *
 * @module
 */
import type { Exec } from "./exec.ts";
import type { PacketHost } from "./packet.ts";

/** As far as needed of one element of `ip -j addr show`. */
interface LinkObject {
  readonly addr_info?: readonly { readonly local?: unknown; readonly prefixlen?: unknown }[];
}

/** This host, with our listeners `proxy`. Where `ip` is missing it has no addresses. */
export async function readPacketHost(exec: Exec, proxy: PacketHost["proxy"]): Promise<PacketHost> {
  const [addresses, forwarding] = await Promise.all([
    exec.run(["ip", "-j", "addr", "show"]),
    exec.run(["cat", "/proc/sys/net/ipv6/conf/all/forwarding"]),
  ]);
  return { addresses: parseAddresses(addresses.stdout), forwards: forwarding.stdout.trim() === "1", proxy };
}

function parseAddresses(listing: string): string[] {
  const links: LinkObject[] = listing.trim() === "" ? [] : JSON.parse(listing);
  return links.flatMap(({ addr_info = [] }) =>
    addr_info.flatMap(({ local, prefixlen }) =>
      typeof local === "string" && typeof prefixlen === "number" ? [`${local}/${prefixlen}`] : []
    )
  );
}
