/**
 * Connections through the lab's gateway, for tests of what rules do to them.
 *
 * @module
 */
import type { ClientSpec } from "../lab/mod.ts";

/** A change takes half a second where the machine has little else to do. */
const PAUSE_MS = 2500;

/** Sends 1,000 bytes to an echo server, and as many again after a pause in which the test changes the rules. */
export function longConnection(address: string, port: number): ClientSpec {
  return {
    address,
    port,
    steps: [
      { do: "send", bytes: 1000 },
      { do: "await-bytes", bytes: 1000 },
      { do: "sleep", ms: PAUSE_MS },
      { do: "send", bytes: 1000 },
      { do: "await-bytes", bytes: 2000 },
      { do: "half-close" },
      { do: "await-end" },
    ],
  };
}

/** Sends 1,000 bytes to an echo server, and ends when they are back. */
export function shortConnection(address: string, port: number): ClientSpec {
  return {
    address,
    port,
    steps: [
      { do: "send", bytes: 1000 },
      { do: "await-bytes", bytes: 1000 },
      { do: "half-close" },
      { do: "await-end" },
    ],
  };
}

/** The address of `address:port` as the lab's programs print it, an IPv6 one in brackets. */
export function hostOf(endpoint: string): string {
  return endpoint.slice(0, endpoint.lastIndexOf(":"));
}
