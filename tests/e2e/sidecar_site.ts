/**
 * A pod with a sidecar: the lab's client is the pod, its gateway the node, and the internet host is everybody else.
 *
 * @module
 */
import type { AppEvents } from "../../control/events.ts";
import { assertEquals } from "../assert.ts";
import { type ClientResult, GATEWAY_LAB, gatewayLab, type Lab, type LabHost } from "../lab/mod.ts";
import { ProxyRun, type ProxyRunOptions } from "./proxy_run.ts";

const { client, gateway, servers } = GATEWAY_LAB;

/** The pod's addresses. */
export const POD = client;
/** Whence the node reaches the pod. */
export const NODE = { v4: gateway.v4, v6: gateway.v6 } as const;
/** Others, each with two addresses a family. */
export const OUTSIDE = servers;
/** From which they dial. */
export const OUTSIDE_LINK = { v4: "198.18.0.2", v6: "2001:db8:ffff::2" } as const;
export const BOTH_FAMILIES = ["v4", "v6"] as const;

/** What one short exchange with an echo server carries. */
export const EXCHANGED = 1234;

/** One finished flow. */
export type Flow = AppEvents["flow"];

/** The lab and, once started, the proxy in it. */
export class SidecarSite implements AsyncDisposable {
  #proxy: ProxyRun | undefined;

  private constructor(readonly lab: Lab) {}

  /** Without a proxy yet. */
  static async start(): Promise<SidecarSite> {
    return new SidecarSite(await gatewayLab());
  }

  get pod(): LabHost {
    return this.lab.host("client");
  }

  get node(): LabHost {
    return this.lab.host("gateway");
  }

  get outside(): LabHost {
    return this.lab.host("internet");
  }

  /** Starts the sidecar; whoever calls ends it, or the site does. */
  async run(flags: readonly string[], options?: ProxyRunOptions): Promise<ProxyRun> {
    return this.#proxy = await ProxyRun.start(this.pod, ["--sidecar", "--flows", ...flags], options);
  }

  /** The flows of a proxy that has been stopped; the order is that in which they ended. */
  flows(): Flow[] {
    return this.#proxy!.logged("flow");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#proxy?.[Symbol.asyncDispose]();
    await this.lab.stop();
  }
}

/** A connection to an echo server, which gets back what it has sent. */
export async function exchange(host: LabHost, address: string, port: number): Promise<ClientResult> {
  const result = await host.connect({
    address,
    port,
    steps: [{ do: "send", bytes: EXCHANGED }, { do: "half-close" }, { do: "await-end" }],
    timeoutMs: 8_000,
  });
  assertEquals(
    [result.outcome, result.received, result.end],
    ["connected", EXCHANGED, "fin"],
    `${address}:${port}`,
  );
  return result;
}

/** The address in `ip:port` or `[ip]:port`. */
export function hostOf(endpoint: string): string {
  return endpoint.slice(0, endpoint.lastIndexOf(":")).replace(/^\[|\]$/g, "");
}

/** `ip:port` or `[ip]:port`. */
export function endpoint(address: string, port: number): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}
