/**
 * Connections through the lab's gateway, for tests of what rules do to them.
 *
 * @module
 */
import type { ClientSpec } from "../lab/mod.ts";

/**
 * Sends 1,000 bytes to an echo server, and as many again after a pause.
 *
 * @param pauseMs long enough for the test to change the rules in the meantime.
 */
export function longConnection(address: string, port: number, pauseMs = 4000): ClientSpec {
  return {
    address,
    port,
    steps: [
      { do: "send", bytes: 1000 },
      { do: "await-bytes", bytes: 1000 },
      { do: "sleep", ms: pauseMs },
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
