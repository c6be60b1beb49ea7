/**
 * What stands for the proxy in the tests of the UDP rules: its sockets, with the options and marks that the data
 * plane's have, each sent through and read from by the test itself. So a failure there is the rules' alone.
 *
 * @module
 */
import { type AppliedRules, applyPlan, DEFAULT_KERNEL_NUMBERS, detectHost } from "../../nft/mod.ts";
import {
  type ClientSocket,
  DatagramClient,
  GATEWAY_LAB,
  type Lab,
  type LabHost,
  type ReceivedDatagram,
} from "../lab/mod.ts";
import type { IntentChanges } from "../fixtures/intents.ts";
import { gatewayPlan, labExec, RELAY_PORT } from "./nft_lab.ts";

const { client, gateway, secondClient, servers } = GATEWAY_LAB;
const { marks } = DEFAULT_KERNEL_NUMBERS;
/** Long after the last datagram that a test has sent has arrived somewhere. */
const QUIET_MS = 300;
const TAKEN_TIMEOUT_MS = 15_000;
const POLL_MS = 5;

/** `ip:port`, with brackets where they belong. */
export function at(address: string, port: number): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}

/** For each family where things are in the lab. */
export const FAMILIES = [
  {
    family: 4,
    server: servers.v4,
    other: servers.v4b,
    from: client.v4,
    second: secondClient.v4,
    here: gateway.v4,
    wan: gateway.wanV4,
    loopback: "127.0.0.1",
    multicast: "224.0.0.251",
  },
  {
    family: 6,
    server: servers.v6,
    other: servers.v6b,
    from: client.v6,
    second: secondClient.v6,
    here: gateway.v6,
    wan: gateway.wanV6,
    loopback: "::1",
    multicast: "ff05::fb",
  },
] as const;

/** Applies the rules of a plan for UDP as well as TCP, unless `changes` says otherwise, in the gateway. */
export async function applyUdp(lab: Lab, changes: IntentChanges): Promise<AppliedRules> {
  const exec = labExec(lab.host("gateway"));
  const plan = gatewayPlan({ udp: "tproxy", ...changes });
  return await applyPlan(plan, { exec, host: await detectHost(exec), backend: "nft", keep: "process" });
}

/**
 * The kernel tracks flows only while some rule asks it to, as any stateful firewall's or NAT's does. Where none has,
 * nothing can tell a flow from before us.
 */
export async function trackFlows(lab: Lab): Promise<void> {
  const chain = "type filter hook prerouting priority filter; ct state invalid accept";
  await lab.host("gateway").output(["nft", "-f", "-"], {
    stdin: `table inet tracking { chain everything { ${chain}; }; }\n`,
  });
}

/** A datagram that a listener took. */
export interface Taken extends ReceivedDatagram {
  readonly worker: number;
}

interface Listener {
  readonly family: 4 | 6;
  readonly worker: number;
  readonly socket: ClientSocket;
  /** How many of its datagrams the test has been told of. */
  read: number;
}

function unread({ socket, read }: Listener): number {
  return socket.receivedCount - read;
}

/** The sockets of a proxy's UDP half in a lab host. */
export class UdpStandIn implements AsyncDisposable {
  readonly #process: DatagramClient;
  readonly #listeners: Listener[] = [];

  private constructor(host: LabHost) {
    this.#process = new DatagramClient(host);
  }

  /** Resolves when each of so many workers listens. */
  static async start(host: LabHost, workers: number): Promise<UdpStandIn> {
    const standIn = new UdpStandIn(host);
    await standIn.listen(workers);
    return standIn;
  }

  /** Opens the listeners. */
  async listen(workers: number): Promise<void> {
    for (let worker = 0; worker < workers; worker++) {
      for (const [family, any] of [[4, "0.0.0.0"], [6, "::"]] as const) {
        const socket = await this.#process.open({
          from: at(any, RELAY_PORT + worker),
          transparent: true,
          receiveMark: true,
          receiveDestination: true,
        });
        this.#listeners.push({ family, worker, socket, read: 0 });
      }
    }
  }

  /** Closes the listeners. */
  async close(): Promise<void> {
    for (const { socket } of this.#listeners.splice(0)) await socket.close();
  }

  /**
   * The next datagrams of one family to come in, worker by worker.
   *
   * @throws {Error} when fewer come.
   */
  async taken(family: 4 | 6, count = 1): Promise<Taken[]> {
    const all: Taken[] = [];
    for (const deadline = performance.now() + TAKEN_TIMEOUT_MS; performance.now() < deadline;) {
      for (const listener of this.#listeners) {
        for (; listener.family === family && unread(listener) > 0 && all.length < count; listener.read++) {
          all.push({ worker: listener.worker, ...await listener.socket.received() });
        }
      }
      if (all.length === count) return all;
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    throw new Error(`listeners: ${all.length} IPv${family} datagrams found, ${count} wanted`);
  }

  /** How many datagrams have come in that {@linkcode taken} has not told of, when none is on its way any more. */
  async unexpected(): Promise<number> {
    await new Promise((resolve) => setTimeout(resolve, QUIET_MS));
    return this.#listeners.reduce((sum, listener) => sum + unread(listener), 0);
  }

  /** A socket that answers clients from any address with this source port. */
  replySocket(family: 4 | 6, port: number): Promise<ClientSocket> {
    return this.#process.open({
      from: at(family === 4 ? "192.0.0.8" : "100::1", port),
      transparent: true,
      reuseAddress: true,
      mark: marks.reply,
    });
  }

  /** A socket towards destinations; with `from` it carries a client's endpoint. */
  upstreamSocket(family: 4 | 6, from?: string): Promise<ClientSocket> {
    return this.#process.open({
      from: from ?? at(family === 4 ? "0.0.0.0" : "::", 0),
      transparent: from !== undefined,
      mark: marks.bypass,
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#process[Symbol.asyncDispose]();
  }
}
