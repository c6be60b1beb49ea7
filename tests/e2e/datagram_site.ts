/**
 * The proxy at work in a lab, for the tests of what it does to datagrams: one gateway lab, `pellucid run` for UDP in its
 * gateway, and sockets in its hosts.
 *
 * @module
 */
import {
  ClientSocket,
  DatagramClient,
  GATEWAY_LAB,
  gatewayLab,
  type GatewayLabOptions,
  type Lab,
  type LabHost,
} from "../lab/mod.ts";
import { ProxyRun, type ProxyRunOptions } from "./proxy_run.ts";

const { client, secondClient, gateway, servers, nowhere } = GATEWAY_LAB;

/** Whose address the server sees. */
export type Source = "own" | "keep";
/** Both, for tests in which it can matter. */
export const SOURCES: readonly Source[] = ["own", "keep"];

/** Who is who, in one family. */
export interface Family {
  readonly name: "v4" | "v6";
  readonly client: string;
  readonly secondClient: string;
  readonly server: string;
  readonly serverB: string;
  readonly nowhere: string;
  /** Of the gateway, towards the client and towards the servers. */
  readonly lan: string;
  readonly wan: string;
  readonly any: string;
  /** Bytes of the IP and the UDP header. */
  readonly headers: number;
  /** Payload of the longest datagram. */
  readonly longest: number;
}

/** IPv4 and IPv6. */
export const FAMILIES: readonly Family[] = [
  {
    name: "v4",
    client: client.v4,
    secondClient: secondClient.v4,
    server: servers.v4,
    serverB: servers.v4b,
    nowhere: nowhere.v4,
    lan: gateway.v4,
    wan: gateway.wanV4,
    any: "0.0.0.0",
    headers: 28,
    longest: 65_507,
  },
  {
    name: "v6",
    client: client.v6,
    secondClient: secondClient.v6,
    server: servers.v6,
    serverB: servers.v6b,
    nowhere: nowhere.v6,
    lan: gateway.v6,
    wan: gateway.wanV6,
    any: "::",
    headers: 48,
    // Linux leaves room for the IP header in this family as well: 65,535 with it (ip6_append_data).
    longest: 65_487,
  },
];

/** What a test may vary. */
export interface DatagramSiteOptions extends ProxyRunOptions {
  readonly source?: Source;
  /** More flags of `run`. */
  readonly flags?: readonly string[];
  readonly lab?: GatewayLabOptions;
}

/** A lab with the proxy in its gateway, and a client. */
export class DatagramSite implements AsyncDisposable {
  private constructor(readonly lab: Lab, readonly proxy: ProxyRun, readonly client: DatagramClient) {}

  /** Resolves when datagrams from the client are intercepted, by two workers unless the flags say otherwise. */
  static async start(options: DatagramSiteOptions = {}): Promise<DatagramSite> {
    const lab = await gatewayLab(options.lab);
    try {
      const client = new DatagramClient(lab.host("client"));
      const { source = "own", flags = [] } = options;
      const links = options.lab?.secondClient === true
        ? ["--from", "lan0", "--from", "lan1"]
        : ["--from", "lan0"];
      const workers = flags.includes("--workers") ? [] : ["--workers", "2"];
      const args = [...links, "--tcp", "off", "--source", source, "--flows", ...workers, ...flags];
      return new DatagramSite(lab, await ProxyRun.start(lab.host("gateway"), args, options), client);
    } catch (error) {
      await lab.stop();
      throw error;
    }
  }

  get gateway(): LabHost {
    return this.lab.host("gateway");
  }

  get internet(): LabHost {
    return this.lab.host("internet");
  }

  /** Opens a socket of the client. */
  open(address: string, port = 0): Promise<ClientSocket> {
    return this.client.open({ from: endpoint(address, port) });
  }

  /** Ends the proxy at once, when everything that the test waits for has come; its totals. */
  stop(): ReturnType<ProxyRun["stop"]> {
    return this.proxy.stopByForce();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.lab.stop();
  }
}

/** `ip:port` or `[ip]:port`. */
export function endpoint(address: string, port: number): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}

/** Where a server sees a client's socket: at its own address, or at that of the gateway. */
export function seenAs(source: Source, family: Family, port: number): string {
  return endpoint(source === "keep" ? family.client : family.wan, port);
}
