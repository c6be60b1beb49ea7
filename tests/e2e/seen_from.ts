/**
 * Whether a connection passed the proxy by, as the server tells it.
 *
 * @module
 */
import { assertEquals } from "../assert.ts";
import type { LabServer } from "../lab/mod.ts";

/** The connection that the server accepted next comes from that address. */
export async function assertSeenFrom(server: LabServer, address: string): Promise<void> {
  const { peer } = await server.nextOpened();
  const host = peer.slice(0, peer.lastIndexOf(":"));
  assertEquals(host, address.includes(":") ? `[${address}]` : address);
}
